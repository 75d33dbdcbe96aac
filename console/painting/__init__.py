"""Bleeds of known place and volume drawn into the heads of people, where somebody has such scans."""
