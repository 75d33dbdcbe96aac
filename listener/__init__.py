"""What comes in: the DIMSE storage SCP, STOW-RS, admission and completeness."""
