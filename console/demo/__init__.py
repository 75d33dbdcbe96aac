"""`ichor demo`: the main job end to end on this machine, with real parts and a known truth."""
