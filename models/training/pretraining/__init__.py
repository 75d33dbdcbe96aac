"""What a network can learn before it sees a mask: the pre-trainings that Spahr et al. 2023 compare."""
