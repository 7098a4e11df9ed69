// The op table as C++ sees it: ops.def expanded into an enum and rows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/ops/attributes.hpp"
#include "core/types/shape.hpp"

namespace peri {

enum class Op : uint8_t {
#define PERI_OP(name, ...) name,
#include "core/ops/ops.def"
};
inline constexpr int kOpCount = 0
#define PERI_OP(...) +1
#include "core/ops/ops.def"
    ;

enum class Family : uint8_t {
#define PERI_FAMILY(name, ...) name,
#include "core/ops/families.def"
};

enum Trait : uint32_t {
  kNone = 0,
  kPointwise = 1,  // one scalar expression per element; fusible
  kReduction = 2,
  kView = 4,          // may share its operand's storage
  kCollective = 8,    // all members of its group issue it together
  kCreation = 16,     // no operands, contents from attributes alone
  kSource = 32,       // graph inputs and captured constants
  kComposite = 64,    // written in terms of other ops by core/ops/decompose.cpp; never in a Graph
  kEffect = 128,      // kept by dead-code elimination
  kDeviceCopy = 256,  // cannot be captured: splits partitions
  kInternal = 512,    // made by tracing: scripts have no function for it
};

enum class Kind : uint8_t {
  boolean,
  integer,
  number,
  string,
  ints,
  shape,
  dim,
  dims,
  index,
  dtype,
  place,
  group,
  reduce
};
enum class DTypes : uint8_t { floats, numeric, integers, any, mixed };
enum class ResultDType : uint8_t { same, boolean, attribute };
enum class Reduce : uint8_t { sum, avg, min, max, prod };

struct AttributeInfo {
  std::string name;
  Kind kind;
  std::optional<AttributeValue> fallback;  // the default; none: required
};

struct OpInfo {
  Op op;
  std::string_view name;
  Family family;
  int min_operands, max_operands;  // max -1: any number
  std::vector<AttributeInfo> attributes;
  DTypes dtypes;
  std::string_view rule;  // the name of its shape rule
  uint32_t traits;        // of its family
  double tolerance;       // relative, in f32
  std::string_view documentation;
  std::string_view expression;  // of a pointwise op, as source text; empty otherwise
  ResultDType result;           // of a pointwise op
  size_t results;               // how many values it makes
  bool has(Trait t) const { return (traits & t) != 0; }
};

const OpInfo& info(Op op);
inline std::string_view to_string(Op op) {
  return info(op).name;
}
std::optional<Op> find_op(std::string_view name);
std::vector<std::string> op_names();

// A default as a row of ops.def writes it.
AttributeValue parse_default(Kind kind, std::string_view text);

const char* to_string(Kind kind);  // as people read it: "a bool", "an int", "a list of dimensions", ...
const char* to_string(Reduce r);
Result<Reduce> parse_reduce(std::string_view name);

// Fills in defaults, puts attributes in declared order, counts negative dims from the end of the first
// operand (of the result for stack) and slice's negative start (-1: the last) and stop (-1: past the last)
// from the end of their dimension, turns an int into a float where one is declared, and refuses unknown names
// (with the nearest) and wrong types.
Result<Attributes> complete(Op op, const Attributes& given, std::span<const TensorType> operands);

// The types of an op's results, at least one.
class ResultTypes {
 public:
  ResultTypes(TensorType only) : first_(only) {}  // NOLINT: most ops have one
  ResultTypes(TensorType first, std::vector<TensorType> further)
      : first_(first), further_(std::move(further)) {}

  size_t size() const { return 1 + further_.size(); }
  const TensorType& operator[](size_t i) const { return i == 0 ? first_ : further_[i - 1]; }

 private:
  TensorType first_;
  std::vector<TensorType> further_;
};

// The shape and dtype rule of an op: checks count, dtypes, places and shapes of the operands against
// completed attributes. Messages name dimensions 1-based and operands a, b, ...; they begin without the op's
// name, and operands' origins are the caller's to add (Graph::add does both).
// `infer` gives the first result's type, `infer_results` the types of all.
Result<TensorType> infer(Op op, std::span<const TensorType> operands, const Attributes& attributes);
Result<ResultTypes> infer_results(Op op, std::span<const TensorType> operands, const Attributes& attributes);

// A composite op in terms of others: calls `emit` for each and returns the last one's value. V is a value
// handle.
struct Step {
  Op op;
  std::vector<int> operands;  // < operand count: the composite's operand; else an earlier step's result
  Attributes attributes;
};
Result<std::vector<Step>> decompose(Op op, std::span<const TensorType> operands,
                                    const Attributes& attributes);

}  // namespace peri
