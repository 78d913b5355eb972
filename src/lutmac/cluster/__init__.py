"""Beyond one machine: replicas of a model on the nodes of a Ray cluster."""
