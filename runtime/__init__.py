"""The runtime: Tensor, the tape, compile_grad, and the loading and calling of native code."""
