"""The parallel region that all kernels share.

``prange`` over a kernel's body would compile the body again for the region, and twice more for Numba's wrappers around
it. So there is one region, which calls what it is given the address of; a kernel is compiled once, for one thread
and for many.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import get_num_threads, prange, types
from numba.core import cgutils, config
from numba.extending import intrinsic

from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import jit_parallel

_I64 = ir.IntType(64)
# part(arguments, part, parts), with the address of the arguments
_PART = ir.FunctionType(ir.VoidType(), [_I64, _I64, _I64])
# region(function, arguments, n_threads), with two addresses
_REGION = ir.FunctionType(ir.VoidType(), [_I64, _I64, _I64])

# The threading layer's own functions: Numba's get_num_threads and set_num_threads hold a process's addresses, and a
# function that calls them can't be kept on disk. The types are those that Numba's own parallel code declares for
# them.
_get_mask: Any = types.ExternalFunction("get_num_threads", types.intp())
_set_mask: Any = types.ExternalFunction("set_num_threads", types.void(types.intp))


def trap(builder: Any) -> None:
    """End the process: what builds with bounds checks do where Python's exceptions don't reach."""
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.trap"), [])


@intrinsic  # type: ignore[untyped-decorator]
def _call_part(typingctx: Any, function: Any, arguments: Any, part: Any, parts: Any) -> Any:
    """Call the function at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.call(builder.inttoptr(args[0], _PART.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


@keep_on_disk
@jit_parallel
def _region(function: int, arguments: int, n_threads: int) -> None:
    # The caller's thread mask is restored in compiled code: from Python that costs 1.5 µs.
    caller = _get_mask()
    _set_mask(n_threads)
    for part in prange(n_threads):
        # prange counts unsigned, and unsigned with signed makes a float.
        _call_part(function, arguments, np.int64(part), n_threads)
    _set_mask(caller)


@functools.cache
def region_address() -> int:
    """Where the region's code is; the first call starts Numba's threads."""
    get_num_threads()  # parallel code refers to the threading layer's symbols
    signature = (types.int64, types.int64, types.int64)
    dispatcher: Any = _region
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


@intrinsic  # type: ignore[untyped-decorator]
def run_parts(typingctx: Any, body: Any, args: Any, region: Any, n_threads: Any) -> Any:
    """Call ``body(args, part, n_threads)`` for every part, in the region at that address; part 0 of 1 if it is 0."""
    call = body.get_call_type(typingctx, (args, types.int64, types.int64), {})

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        compiled = body.dispatcher.overloads[call.args]
        context.active_code_library.add_linking_library(compiled.library)

        # What the region calls: it unpacks the arguments.
        part = ir.Function(builder.module, _PART, builder.function.name + ".part")
        part.linkage = "internal"
        inner = ir.IRBuilder(part.append_basic_block())
        unpacked = inner.load(inner.inttoptr(part.args[0], context.get_value_type(args).as_pointer()))
        status, _ = context.call_internal_no_propagate(inner, compiled.fndesc, call, [unpacked, *part.args[1:]])
        if config.BOUNDSCHECK:  # a part raises nothing else, and from a region nothing can be raised
            with inner.if_then(status.is_error):
                trap(inner)
        inner.ret_void()

        _, arguments, region, n_threads = values
        address = builder.ptrtoint(cgutils.alloca_once_value(builder, arguments), _I64)
        with builder.if_else(cgutils.is_null(builder, region)) as (alone, together):
            with alone:
                builder.call(part, [address, _I64(0), _I64(1)])
            with together:
                pointer = builder.inttoptr(region, _REGION.as_pointer())
                builder.call(pointer, [builder.ptrtoint(part, _I64), address, n_threads])
        return context.get_dummy_value()

    return types.void(body, args, types.int64, types.int64), codegen
