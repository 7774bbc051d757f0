"""What a run showed, as one record, and the views of it: a report, a trace, tables."""
