"""Functions of Tensors as native code: traced, derived, specialised, called."""
