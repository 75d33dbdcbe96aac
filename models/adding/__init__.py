"""How a department's own model comes in: read without running anything, written down as a spec and safetensors."""
