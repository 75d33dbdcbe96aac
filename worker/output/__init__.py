"""What goes out: SEG, two structured reports, the summary picture and `result.json`."""
