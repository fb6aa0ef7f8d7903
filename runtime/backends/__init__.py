"""`backends`: whether the libraries that PyTorch calls are there, and their switches.

Of all only CUDA is; the switches of the others hold what programs set and change nothing. To add one, write a
file that answers `is_available`.
"""

from retrograd.runtime.backends import cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
