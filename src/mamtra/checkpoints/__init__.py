"""Models on disk: the native directory, compact storage of weights, strict loading, finding a model by its name."""
