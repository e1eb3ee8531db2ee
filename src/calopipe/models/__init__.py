"""Networks: tensors in, tensors out. One file per model, registered by name; no model knows files or geometries."""
