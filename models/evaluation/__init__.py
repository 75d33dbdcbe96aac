"""How good a segmentation is: figures per scan and in sum, computed the same way for every system."""
