"""Clients of other DICOM nodes."""
