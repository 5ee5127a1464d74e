"""Explicit SIMD for numba kernels: a vector of 16 floats as a numba type.

LLVM vectorises simple loops by itself, but gives up on an inner loop over states with values that should stay in
registers. Kernels therefore say what they mean: `Vector` values are LLVM vectors of `LANES` floats, which become one
register on AVX-512, two on AVX2 and four on NEON.

Everything here works on flat, C-contiguous float32 arrays and does not check bounds.
"""

from __future__ import annotations

import math
from typing import Any, Final

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

LANES: Final = 16

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
FLOATS = ir.VectorType(_FLOAT, LANES)
INTS = ir.VectorType(_INT, LANES)
LOG2E: Final = 1.4426950408889634
# Minimax polynomials for the relative error, highest power first: 2ˣ on [-½, ½] (9e-8) and log1p(x)/x on (0, 1] (2e-7).
_EXP2: Final = (0.0013264727, 0.009671513, 0.055507336, 0.24022242, 0.693147, 1.0)
_LOG1P: Final = (
    -0.0085391682, 0.0440894887, -0.1076815128, 0.1774522663, -0.2449545711, 0.3327547908, -0.4999740422, 0.9999998212,
)  # fmt: skip
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: erfc(x) = t·p(t)·e^-x², t = 1 / (1 + 0.3275911 x).
_ERFC: Final = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
OPTIONS: Final = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nnan", "ninf", "nsz", "contract", "afn"},
}
"""How numba compiles the functions that work on vectors."""
FLAGS: Final = ("nnan", "ninf", "nsz", "contract", "afn")


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector: Final = _VectorType()


@register_default(_VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]  # numba has no type information
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def vector_pointer(builder: Any, data: Any, index: Any) -> Any:
    """Where the vector data[index : index + LANES] begins."""
    return builder.bitcast(builder.gep(data, [index]), FLOATS.as_pointer())


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return vector_pointer(builder, context.make_array(kind)(context, builder, array).data, index)


@intrinsic
def load(_context: Any, array: Any, index: Any) -> Any:
    """The vector array[index : index + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *arguments), align=4)

    return vector(array, types.intp), generate


@intrinsic
def store(_context: Any, array: Any, index: Any, _value: Any) -> Any:
    """array[index : index + LANES] = value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _address(context, builder, signature.args[0], *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def splat_lanes(builder: Any, value: Any) -> Any:
    """A number in every lane."""
    kind = ir.VectorType(value.type, LANES)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), ir.Constant(INTS, [0] * LANES))


def constant(value: float) -> Any:
    """The same number in every lane, known when code is compiled."""
    return ir.Constant(FLOATS, [value] * LANES)


@intrinsic
def broadcast(_context: Any, array: Any, index: Any) -> Any:
    """array[index] in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return splat_lanes(builder, builder.load(builder.gep(data, [index])))

    return vector(array, types.intp), generate


@intrinsic
def splat(_context: Any, _value: Any) -> Any:
    """The same number in every lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return splat_lanes(builder, arguments[0])

    return vector(types.float32), generate


@intrinsic
def zeros(_context: Any) -> Any:
    """Zero in every lane."""

    def generate(_context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
        return constant(0.0)

    return vector(), generate


@intrinsic
def add(_context: Any, _a: Any, _b: Any) -> Any:
    """a + b, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments, flags=FLAGS)

    return vector(vector, vector), generate


@intrinsic
def sub(_context: Any, _a: Any, _b: Any) -> Any:
    """a - b, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments, flags=FLAGS)

    return vector(vector, vector), generate


@intrinsic
def mul(_context: Any, _a: Any, _b: Any) -> Any:
    """a · b, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments, flags=FLAGS)

    return vector(vector, vector), generate


@intrinsic
def maximum(_context: Any, _a: Any, _b: Any) -> Any:
    """The larger of a and b, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _maximum(builder, *arguments)

    return vector(vector, vector), generate


@intrinsic
def fma(_context: Any, _a: Any, _b: Any, _c: Any) -> Any:
    """a · b + c, lane by lane (fused where the processor can)."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return multiply_add(builder, *arguments)

    return vector(vector, vector, vector), generate


@intrinsic
def total(_context: Any, _a: Any) -> Any:
    """Sum over the lanes, as a number."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        half, rest = LANES // 2, arguments[0]
        while half:
            upper = ir.Constant(ir.VectorType(_INT, half), list(range(half, 2 * half)))
            lower = ir.Constant(ir.VectorType(_INT, half), list(range(half)))
            undefined = ir.Constant(rest.type, ir.Undefined)
            rest = builder.fadd(
                builder.shuffle_vector(rest, undefined, lower), builder.shuffle_vector(rest, undefined, upper)
            )
            half //= 2
        return builder.extract_element(rest, ir.Constant(_INT, 0))

    return types.float32(vector), generate


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, fused where the processor can."""
    return builder.fadd(builder.fmul(a, b, flags=FLAGS), c, flags=FLAGS)


def _polynomial(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Horner's rule, highest power first."""
    result = constant(coefficients[0])
    for coefficient in coefficients[1:]:
        result = multiply_add(builder, result, x, constant(coefficient))
    return result


def _maximum(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b, flags=FLAGS), a, b)


def _exp2(builder: Any, t: Any) -> Any:
    """2ᵗ for t ≤ 126, relative error below 2e-7; t below -126 counts as -126.

    Adding 1.5 · 2²³ rounds t to an integer that then stands in the low mantissa bits, ready to be shifted into the
    exponent; the remaining fraction in [-½, ½] goes through a polynomial with p(0) = 1.
    """
    magic = constant(12582912.0)
    clamped = _maximum(builder, t, constant(-126.0))
    # No fast-math flags here: reassociation would cancel the constant and with it the rounding.
    rounded = builder.fadd(clamped, magic)
    fraction = builder.fsub(clamped, builder.fsub(rounded, magic))
    power = _polynomial(builder, fraction, _EXP2)
    exponent = builder.shl(builder.bitcast(rounded, INTS), ir.Constant(INTS, [23] * LANES))
    return builder.bitcast(builder.add(builder.bitcast(power, INTS), exponent), FLOATS)


@intrinsic
def exp2(_context: Any, _t: Any) -> Any:
    """2ᵗ, lane by lane, for t ≤ 126."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _exp2(builder, arguments[0])

    return vector(vector), generate


def _softplus(builder: Any, v: Any) -> tuple[Any, Any]:
    """log(1 + eᵛ) as max(v, 0) + log1p(e^-|v|), the logarithm by a polynomial e · p(e) on (0, 1]; and e = e^-|v|."""
    positive = _maximum(builder, v, constant(0.0))
    # v - 2·max(v, 0) = -|v|
    negative = multiply_add(builder, positive, constant(-2.0), v)
    e = _exp2(builder, builder.fmul(negative, constant(LOG2E), flags=FLAGS))
    return multiply_add(builder, e, _polynomial(builder, e, _LOG1P), positive), e


@intrinsic
def softplus(_context: Any, _v: Any) -> Any:
    """log(1 + eᵛ), lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _softplus(builder, arguments[0])[0]

    return vector(vector), generate


@intrinsic
def softplus_and_slope(_context: Any, _v: Any) -> Any:
    """log(1 + eᵛ) and its derivative, 1 / (1 + e^-v), lane by lane."""
    both = types.containers.UniTuple(vector, 2)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        (v,) = arguments
        value, e = _softplus(builder, v)
        one = constant(1.0)
        above = builder.fdiv(one, builder.fadd(one, e, flags=FLAGS), flags=FLAGS)
        positive = builder.fcmp_ordered(">", v, constant(0.0), flags=FLAGS)
        slope = builder.select(positive, above, builder.fmul(e, above, flags=FLAGS))
        return context.make_tuple(builder, both, [value, slope])

    return both(vector), generate


def _sigmoid(builder: Any, v: Any) -> Any:
    one = constant(1.0)
    # 2^126 is the largest power that exp2 gives: below v = -87 the result is 1e-38 instead of less.
    exponent = builder.fmul(v, constant(-LOG2E), flags=FLAGS)
    smaller = builder.select(
        builder.fcmp_ordered("<", exponent, constant(126.0), flags=FLAGS), exponent, constant(126.0)
    )
    return builder.fdiv(one, builder.fadd(one, _exp2(builder, smaller), flags=FLAGS), flags=FLAGS)


@intrinsic
def sigmoid(_context: Any, _v: Any) -> Any:
    """1 / (1 + e^-v), lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _sigmoid(builder, arguments[0])

    return vector(vector), generate


@intrinsic
def gelu(_context: Any, _v: Any) -> Any:
    """v · Φ(v), lane by lane, Φ the normal distribution: Abramowitz and Stegun 7.1.26, error below 1.5e-7 · |v|."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        (v,) = arguments
        zero, one = constant(0.0), constant(1.0)
        size = _maximum(builder, v, builder.fsub(zero, v, flags=FLAGS))
        t = builder.fdiv(one, multiply_add(builder, size, constant(0.3275911 / math.sqrt(2)), one), flags=FLAGS)
        tail = builder.fmul(_polynomial(builder, t, _ERFC), t, flags=FLAGS)
        square = builder.fmul(builder.fmul(v, v, flags=FLAGS), constant(-0.5 * LOG2E), flags=FLAGS)
        half_erfc = builder.fmul(builder.fmul(tail, _exp2(builder, square), flags=FLAGS), constant(0.5), flags=FLAGS)
        outside = builder.fmul(v, half_erfc, flags=FLAGS)
        positive = builder.fcmp_ordered(">", v, zero, flags=FLAGS)
        return builder.select(positive, builder.fsub(v, outside, flags=FLAGS), outside)

    return vector(vector), generate
