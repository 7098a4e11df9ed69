// core/ops/op.hpp for device code: the enum alone.
#pragma once

namespace peri {

enum class Op : unsigned char {
#define PERI_OP(name, ...) name,
#include "core/ops/ops.def"
};

}  // namespace peri
