"""How the node sees: model specs, registry, networks, engines, phantoms and training."""
