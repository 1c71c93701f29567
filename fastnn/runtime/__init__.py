"""How kernels are compiled, kept on disk and launched, on one thread or on several.

===============  =======================================================================
module           contents
===============  =======================================================================
`launch`         `Kernel`, and `launch`, the one place that runs kernels
`threads`        how many threads a launch may use, and how many of them pay
`process`        the state of the whole process, such as whether it is a fork's child
`machine`        measurements of the machine
`cost`           the choice between one thread and several, from measured times
`region`         the parallel region that all kernels share
`template`       `instance`, which copies a function with others in the place of globals
`compiler`       the decorators of compiled functions
`compile_cache`  where compiled kernels are kept, and when a kept one may run
`forks`          makes a fork wait until no other thread compiles
`numba_private`  everything that touches Numba's internals
===============  =======================================================================
"""
