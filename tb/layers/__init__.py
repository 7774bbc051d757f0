"""What is run: layers captured, from files, random, of whole networks."""
