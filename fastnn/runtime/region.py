"""The parallel region that all kernels share.

``prange`` over a kernel's body would compile the body again for the region, and twice more for Numba's wrappers around
the region. So there is one region, which calls a function by its address, and each kernel is compiled once, for one
thread and for many.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, get_num_threads, prange, set_num_threads, types
from numba.core import cgutils

from fastnn.runtime import numba_private
from fastnn.runtime.compile_cache import keep_on_disk
from fastnn.runtime.compiler import intrinsic, jit, jit_parallel, refuse
from fastnn.runtime.template import instance

_I64 = ir.IntType(64)
# part(arguments, part, parts), with the address of the arguments
_PART = ir.FunctionType(ir.VoidType(), [_I64, _I64, _I64])
# region(function, arguments, n_threads), with two addresses
_REGION = ir.FunctionType(ir.VoidType(), [_I64, _I64, _I64])

# The threading layer's own functions (see `numba_private.has_mask_symbols`), with the types that Numba's parallel code
# declares for them.
_get_mask: Any = types.ExternalFunction("get_num_threads", types.intp())
_set_mask: Any = types.ExternalFunction("set_num_threads", types.void(types.intp))


def trap(builder: Any) -> None:
    """Emit code that ends the process: in builds with bounds checks, where no Python exception can be raised."""
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.trap"), [])


@intrinsic
def _call_part(typingctx: Any, function: Any, arguments: Any, part: Any, parts: Any) -> Any:
    """Call the function at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.call(builder.inttoptr(args[0], _PART.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


def _call_parts(function: int, arguments: int, n_threads: int) -> None:
    # The caller's thread mask is restored in compiled code: from Python that costs 1.5 µs.
    caller = _get_mask()
    _set_mask(n_threads)
    for part in prange(n_threads):
        # prange counts unsigned, and unsigned with signed makes a float.
        _call_part(function, arguments, np.int64(part), n_threads)
    _set_mask(caller)


_region = keep_on_disk(jit_parallel(_call_parts))


@functools.cache
def region_address() -> int:
    """The address of the region's code. The first call starts Numba's threads."""
    for setting in ("DISABLE_JIT", "DEBUG_ARRAY_OPT_RUNTIME"):
        if getattr(config, setting, False):
            refuse(setting)
    get_num_threads()  # parallel code refers to the threading layer's symbols, which have to be there
    region = _region
    if not numba_private.has_mask_symbols():
        region = jit_parallel(instance(_call_parts, _get_mask=get_num_threads, _set_mask=set_num_threads))
    return numba_private.native_address(region, (types.int64, types.int64, types.int64))


@jit
def _run_alone(body: Any, args: Any, region: int, n_threads: int) -> None:
    body(args, 0, 1)


@intrinsic
def _run_parts(typingctx: Any, body: Any, args: Any, region: Any, n_threads: Any) -> Any:
    call = numba_private.call_of(body, typingctx, (args, types.int64, types.int64))

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        # The function that the region calls: it unpacks the arguments.
        part = ir.Function(builder.module, _PART, builder.function.name + ".part")
        part.linkage = "internal"
        inner = ir.IRBuilder(part.append_basic_block())
        unpacked = inner.load(inner.inttoptr(part.args[0], context.get_value_type(args).as_pointer()))
        status = numba_private.emit_call(context, inner, body, call, [unpacked, *part.args[1:]])
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


# run_parts(body, args, region, n_threads) calls ``body(args, part, n_threads)`` for every part, in the region at that
# address. If the address is 0, it calls ``body(args, 0, 1)``, and always if Numba lacks what the region needs.
run_parts = _run_parts if numba_private.HAS_PARTS else _run_alone
