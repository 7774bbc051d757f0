"""What every bench is built of."""
