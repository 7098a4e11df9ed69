#include "core/ops/collective.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>

#include "core/ops/attributes_of.hpp"

namespace peri {
namespace {

constexpr Parts kWhole = Parts::whole, kParts = Parts::per_member;
constexpr Sources kMembers = Sources::members, kRoot = Sources::root,
                  kMembersToRoot = Sources::members_to_root, kPeer = Sources::peer, kNobody = Sources::nobody;
constexpr bool kCopies = false, kReduces = true;
constexpr Traffic kOnce = Traffic::once, kShare = Traffic::share, kTwice = Traffic::twice;
constexpr CollectiveInfo kCollectives[] = {
#define PERI_COLLECTIVE(op, inputs, outputs, input, output, sources, effect, traffic) \
  {Op::op, inputs, outputs, input, output, sources, effect, traffic},
#include "core/ops/algorithms.def"
};

constexpr bool kPreservesInput = false, kClobbersInput = true;
constexpr AlgorithmInfo kAlgorithms[] = {
#define PERI_ALGORITHM(op, name, symmetric, effect, end_barrier, documentation) \
  {Op::op, Algorithm::name, #name, symmetric, effect, end_barrier, documentation},
#include "core/ops/algorithms.def"
};

constexpr Op kOps[] = {
// of both families
#define PERI_OP_collective(name) Op::name,
#define PERI_OP_message(name) Op::name,
#include "core/ops/ops.def"
};

constexpr Op kChoices[] = {
#define PERI_OP_collective(name) Op::name,
#include "core/ops/ops.def"
};

constexpr const CollectiveInfo* find_collective(Op op) {
  for (const CollectiveInfo& row : kCollectives)
    if (row.op == op) return &row;
  return nullptr;
}
constexpr const AlgorithmInfo* find_row(Op op, Algorithm algorithm) {
  for (const AlgorithmInfo& row : kAlgorithms)
    if (row.op == op && row.algorithm == algorithm) return &row;
  return nullptr;
}
static_assert(
    [] {
      for (Op op : kOps)
        if (!find_collective(op)) return false;
      return std::size(kOps) == std::size(kCollectives);
    }(),
    "algorithms.def: a row for every collective and message of ops.def, and for no other op");
static_assert(
    [] {
      for (const CollectiveInfo& row : kCollectives)
        if (!find_row(row.op, Algorithm::ll)) return false;
      for (Op op : kChoices)
        if (!find_row(op, Algorithm::one_shot)) return false;
      return true;
    }(),
    "algorithms.def: ll for every op, as it asks nothing of its operands; one_shot where there is a choice");

}  // namespace

bool uses_multicast(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::multimem_one_shot:
    case Algorithm::multimem:
      return true;
    case Algorithm::ll:
    case Algorithm::one_shot:
    case Algorithm::two_shot:
    case Algorithm::nccl:
      return false;
  }
  return false;
}

double CollectiveInfo::bus_factor(int members) const {
  const double share = static_cast<double>(members - 1) / members;
  switch (traffic) {
    case Traffic::once:
      return 1;
    case Traffic::share:
      return share;
    case Traffic::twice:
      return 2 * share;
  }
  return 1;
}

const CollectiveInfo& collective_info(Op op) {
  const CollectiveInfo* row = find_collective(op);
  PERI_CHECK(row, "the op is a collective");
  return *row;
}
std::span<const CollectiveInfo> collectives() {
  return kCollectives;
}

std::span<const AlgorithmInfo> algorithms() {
  return kAlgorithms;
}
const AlgorithmInfo* find_algorithm(Op op, Algorithm algorithm) {
  return find_row(op, algorithm);
}
const AlgorithmInfo* find_algorithm(Op op, std::string_view name) {
  for (const AlgorithmInfo& row : kAlgorithms)
    if (row.op == op && row.name == name) return &row;
  return nullptr;
}
std::vector<std::string> algorithm_names(Op op) {
  std::vector<std::string> names;
  for (const AlgorithmInfo& row : kAlgorithms)
    if (row.op == op) names.emplace_back(row.name);
  return names;
}
Result<const AlgorithmInfo*> parse_algorithm(Op op, std::string_view name) {
  if (const AlgorithmInfo* row = find_algorithm(op, name)) return row;
  return fail(Code::NotFound, fmt::format("no algorithm named {}", name), {},
              fmt::format("it has {}", fmt::join(algorithm_names(op), ", ")));
}

CollectiveSpec collective_spec(Op op, const Attributes& attributes, const AlgorithmInfo& algorithm,
                               Origin origin) {
  const CollectiveInfo& row = collective_info(op);
  CollectiveSpec spec{.op = op, .algorithm = &algorithm, .group = attributes.get<"group">()};
  spec.origin = std::move(origin);
  spec.end_barrier = algorithm.end_barrier;
  if (row.reduces) spec.reduce = attributes.get<"reduce">();
  if (row.splits() && row.concats()) {
    spec.split_dim = attributes.get<"split_dim">();
    spec.concat_dim = attributes.get<"concat_dim">();
  } else if (row.splits()) {
    spec.split_dim = attributes.get<"dim">();
  } else if (row.concats()) {
    spec.concat_dim = attributes.get<"dim">();
  }
  if (row.has_root()) spec.root = static_cast<int>(attributes.get<"root">());
  if (row.sources == Sources::peer) spec.peer = static_cast<int>(attributes.get<"peer">());
  return spec;
}

Attributes attributes_of(const CollectiveSpec& spec) {
  const CollectiveInfo& row = spec.info();
  Attributes attributes;
  if (row.reduces) attributes.set("reduce", std::string(to_string(spec.reduce)));
  if (row.splits()) attributes.set(row.concats() ? "split_dim" : "dim", int64_t{spec.split_dim});
  if (row.concats()) attributes.set(row.splits() ? "concat_dim" : "dim", int64_t{spec.concat_dim});
  if (row.has_root()) attributes.set("root", int64_t{spec.root});
  if (row.sources == Sources::peer) attributes.set("peer", int64_t{spec.peer});
  attributes.set("group", spec.group);
  if (row.has_choice()) attributes.set("algorithm", std::string(spec.algorithm ? spec.algorithm->name : ""));
  return attributes;
}

Result<TensorType> infer(const CollectiveSpec& spec, const TensorType& operand) {
  return infer(spec.op, {&operand, 1}, attributes_of(spec));
}

}  // namespace peri
