"""The public data sets of haemorrhage segmentation, read from the folders that they come in, and plain folders."""
