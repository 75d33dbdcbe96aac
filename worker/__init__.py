"""What is done and what goes out: the pipeline, its outputs, delivery and alerts."""
