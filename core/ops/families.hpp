// The ops of each family as an enum of its own, so that a `switch` over them names every op of the family and
// no other: a new op of an old family does not build (-Wswitch) until each place of the family knows it.
#pragma once

#include "core/ops/op.hpp"

namespace peri {

enum class SourceOp : uint8_t {
#define PERI_OP_source(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class ResultOp : uint8_t {
#define PERI_OP_result(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class CompositeOp : uint8_t {
#define PERI_OP_composite(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class ViewOp : uint8_t {
#define PERI_OP_view(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class WindowOp : uint8_t {
#define PERI_OP_window(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class DeviceCopyOp : uint8_t {
#define PERI_OP_device_copy(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class CollectiveOp : uint8_t {
#define PERI_OP_collective(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class MessageOp : uint8_t {
#define PERI_OP_message(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class PointwiseOp : uint8_t {
#define PERI_OP_pointwise(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class CreationOp : uint8_t {
#define PERI_OP_creation(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class ReductionOp : uint8_t {
#define PERI_OP_reduction(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class ArgReductionOp : uint8_t {
#define PERI_OP_arg_reduction(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class SortingOp : uint8_t {
#define PERI_OP_sorting(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class ScanOp : uint8_t {
#define PERI_OP_scan(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class NormalisationOp : uint8_t {
#define PERI_OP_normalisation(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class MatmulOp : uint8_t {
#define PERI_OP_matmul(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class GatherOp : uint8_t {
#define PERI_OP_gather(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class ScatterOp : uint8_t {
#define PERI_OP_scatter(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class CopyOp : uint8_t {
#define PERI_OP_copy(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class RopeOp : uint8_t {
#define PERI_OP_rope(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};
enum class AttentionOp : uint8_t {
#define PERI_OP_attention(name) name = static_cast<uint8_t>(Op::name),
#include "core/ops/ops.def"
};

template <class FamilyOp>
inline constexpr Family kFamilyOf = Family::pointwise;
#define PERI_FAMILY(name, Enum, ...) \
  template <>                        \
  inline constexpr Family kFamilyOf<Enum> = Family::name;
#include "core/ops/families.def"

// `op` as one of its family; a PERI_CHECK if it is of another.
template <class FamilyOp>
FamilyOp op_of(Op op) {
  PERI_CHECK(info(op).family == kFamilyOf<FamilyOp>, "an op of another family");
  return static_cast<FamilyOp>(op);
}

}  // namespace peri
