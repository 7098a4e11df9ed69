// See stubs.hpp. The format: https://luals.github.io/wiki/annotations
#include "bindings/commands/stubs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "bindings/lua/tensor.hpp"
#include "core/ops/collective.hpp"
#include "core/ops/op.hpp"

namespace peri::commands {
namespace {

constexpr const char* kPreamble = R"(---@meta peri
-- Annotations of Perilune's Lua API for lua-language-server, made by `peri help --stubs`: save them as peri.lua in a
-- folder that the setting Lua.workspace.library names. Dimensions and positions are 1-based, negative ones count from
-- the end; ranks are 0-based.

---@alias peri.dtype "f32"|"f16"|"bf16"|"i32"|"i64"|"u8"|"bool"
---@alias peri.place "device"|"host"
---@alias peri.reduce "sum"|"avg"|"min"|"max"|"prod"

---@class peri.Group ranks that communicate
---@field size integer
---@field index integer? this rank's place in it, from 0; nil if it is no member
---@field ranks integer[]

---@class peri.TensorOptions
---@field dtype? peri.dtype

---@class peri.SymmetricOptions: peri.TensorOptions
---@field group? peri.Group|integer[]

---@class peri.SignalOptions
---@field channel? integer from 0; default: 0

---@class peri.RaggedOptions
---@field capacity? integer rows, the same on all members; default: those of the operand
---@field group? peri.Group|integer[]

---@class peri.ShardOptions
---@field shard? {[1]: integer, [2]: peri.Group?} the dimension and the group that it is cut for

---@class peri.File an open safetensors file
---@field metadata table<string, string>
local File = {}

---One tensor; with `shard`, only this rank's part is read.
---@param name string
---@param options? peri.ShardOptions
---@return peri.Tensor
function File:tensor(name, options) end

---@return string[]
function File:names() end

---@class peri.OpContext what a policy's function is told of an operation
---@field op string
---@field dtype peri.dtype
---@field shape integer[] of the first operand
---@field bytes integer of the first operand
---@field ll_bytes integer up to this size ll answers soonest, as measured
---@field group_size integer
---@field reduce string
---@field machine "host"|"cuda"
---@field at string the script's line

---@class peri.Policy what the planner chooses by; absent fields are left to it
---@field auto_select? boolean false: collectives stay with `ll`
---@field all_reduce? string|fun(op: peri.OpContext): string? the algorithm
---@field all_gather? string|fun(op: peri.OpContext): string? the algorithm
---@field reduce_scatter? string|fun(op: peri.OpContext): string? the algorithm
---@field all_to_all? string|fun(op: peri.OpContext): string? the algorithm
---@field broadcast? string|fun(op: peri.OpContext): string? the algorithm
---@field reduce? string|fun(op: peri.OpContext): string? the algorithm
---@field ll_bytes? integer up to this size: ll
---@field one_shot_bytes? integer up to this size: one_shot
---@field lowering? "out_variant"|"fallback"
---@field planning? "reuse"|"separate" separate: every buffer has its own memory
---@field barriers? "full"
---@field epilogues? boolean true: what follows a collective is done in its call, where it may be
---@field capture? boolean
---@field split? boolean|fun(op: peri.OpContext): boolean? true: this operation is not captured
---@field skip? string[] names of passes left out, such as "fuse"

---@class peri.CompileOptions
---@field policy? peri.Policy
---@field group? peri.Group|integer[] the ranks that must compile the same plan; default: the world
---@field check? boolean every call is traced again and compared with what was compiled
---@field plans? integer how many plans are kept; then the one called longest ago makes room; default: 64

---@class peri.Compiled
---@overload fun(...): ...
local Compiled = {}
---What was decided, and why. This and what follows is about the last call's signature.
---@return string
function Compiled:explain() end
---The plan as a Lua program.
---@return string
function Compiled:code() end
---@return string
function Compiled:graph() end
---The graph in DOT.
---@return string
function Compiled:dot() end
---@return string
function Compiled:plan() end
---@return table<string, number>
function Compiled:stats() end
---Where the plan's buffers lie, by name.
---@return table<string, string>
function Compiled:addresses() end

---An error that peri raises; also what pcall gives.
---@class peri.Error: string
---@field code string "InvalidArgument", "ShapeMismatch", ...
---@field message string
---@field at string the script's line, "file.lua:12"
---@field hint string
---@field text string all of it, as tostring gives it
---@field rank integer

---@class peri.Tensor
---@operator add(peri.Tensor|number): peri.Tensor
---@operator sub(peri.Tensor|number): peri.Tensor
---@operator mul(peri.Tensor|number): peri.Tensor
---@operator div(peri.Tensor|number): peri.Tensor
---@operator mod(peri.Tensor|number): peri.Tensor
---@operator pow(peri.Tensor|number): peri.Tensor
---@operator unm: peri.Tensor
---@field [integer] peri.Tensor a position of the first dimension
local Tensor = {}

---The value of a tensor with one element.
---@return number|boolean
function Tensor:item() end
---Its elements as nested tables.
---@return table|number|boolean
function Tensor:totable() end
---@return integer[]
function Tensor:shape() end
---The size of one dimension, or all sizes.
---@param dim? integer
---@return integer|integer[]
function Tensor:size(dim) end
---How many elements it has.
---@return integer
function Tensor:numel() end
---How many dimensions it has.
---@return integer
function Tensor:dim() end
---@return peri.dtype
function Tensor:dtype() end
---@return peri.place
function Tensor:place() end
---Cast to a dtype, or copied to a place.
---@param what peri.dtype|peri.place
---@return peri.Tensor
function Tensor:to(what) end
---Its own memory gets the values of `source`.
---@param source peri.Tensor
---@return peri.Tensor
function Tensor:copy_(source) end
---@return boolean
function Tensor:is_symmetric() end

---@class peri.symm collectives by the name of their algorithm
local symm = {}
---Zeros in symmetric memory; all members of the group call it.
---@param shape integer[]
---@param options? peri.SymmetricOptions
---@return peri.Tensor
function symm.empty(shape, options) end
---Writes `source`, of the type of `x`, into rank's memory of `x`. The rank sees it after a signal or a barrier.
---@param x peri.Tensor in symmetric memory
---@param rank integer
---@param source peri.Tensor
function symm.put(x, rank, source) end
---Tells a rank that shares the symmetric memory of `x` that what this rank did before is done. Waits while that
---rank has not yet waited for the last signal of the channel.
---@param x peri.Tensor in symmetric memory
---@param rank integer
---@param options? peri.SignalOptions
function symm.put_signal(x, rank, options) end
---Waits for one signal from that rank: an error at the deadline.
---@param x peri.Tensor in symmetric memory
---@param rank integer
---@param options? peri.SignalOptions
function symm.wait_signal(x, rank, options) end

---@class peri
---@field rank integer this process's rank, from 0
---@field world_size integer
---@field backend string "host" or "cuda"
---@field world peri.Group all ranks
---@field symm peri.symm
---@field methods table<string, function> of tensors; a library may add its own
local peri = {}

---A tensor of a number or of nested tables.
---@param values number|boolean|table
---@param options? peri.TensorOptions
---@return peri.Tensor
function peri.tensor(values, options) end
---@param shape integer[]
---@param options? peri.TensorOptions
---@return peri.Tensor
function peri.zeros(shape, options) end
---@param shape integer[]
---@param options? peri.TensorOptions
---@return peri.Tensor
function peri.ones(shape, options) end
---@param ranks integer[]
---@return peri.Group
function peri.group(ranks) end
---This rank's group along each axis: peri.mesh{{"dp", 2}, {"tp", 2}}, the last axis fastest.
---@param axes table
---@return table<string, peri.Group>
function peri.mesh(axes) end
---@param group? peri.Group|integer[]
function peri.barrier(group) end
---Seconds of a clock that only goes forward, when all that was asked for is done.
---@return number
function peri.clock() end
---Begins anew with the other ranks after a failed collective that pcall caught; all ranks call it.
function peri.recover() end
---Random tensors made without a seed from here on are those that follow n, on each rank others.
---@param n integer
function peri.seed(n) end
---A page of the manual.
---@param name string
---@return string
function peri.help(name) end
---Traces the function once per signature of its arguments, plans it, and replays the plan from then on.
---@param f function
---@param options? peri.CompileOptions
---@return peri.Compiled
function peri.compile(f, options) end
---Opens a safetensors file.
---@param path string
---@return peri.File
function peri.load(path) end
---Writes a safetensors file.
---@param path string
---@param tensors table<string, peri.Tensor>
---@param metadata? table<string, string>
function peri.save(path, tensors, metadata) end
)";

// Written in Lua (scripts/peri/init.lua): the parameters behind the tensor, and what comes back.
struct Convenience {
  const char *name, *documentation, *parameters, *returns;
};
constexpr Convenience kConveniences[] = {
    {"chunk", "n equal parts along one dimension; the last may be smaller.", "n integer, dim? integer",
     "peri.Tensor[]"},
    {"select", "One position of one dimension, which goes away.", "dim integer, i integer", "peri.Tensor"},
    {"unsqueeze", "A new dimension of size 1.", "dim integer", "peri.Tensor"},
    {"squeeze", "Without that dimension, if its size is 1; without `dim`, without all such.", "dim? integer",
     "peri.Tensor"},
    {"flatten", "The dimensions first to last joined into one.", "first? integer, last? integer",
     "peri.Tensor"},
    {"clamp", "Between low and high; either may be nil.", "low? number, high? number", "peri.Tensor"},
    {"log_softmax", "The logarithm of the softmax.", "dim? integer", "peri.Tensor"},
    {"var", "The variance, with n in the denominator.", "dim? integer|integer[], keepdim? boolean",
     "peri.Tensor"},
    {"all_to_all_v",
     "The first counts[1] rows go to the first member, the next counts[2] to the second, ...; at most "
     "`capacity` to "
     "each. Gives the rows that arrive, in member order, then zeros: members times `capacity` rows; and how "
     "many came "
     "from each member.",
     "counts peri.Tensor, options? peri.RaggedOptions", "peri.Tensor, peri.Tensor"},
};

const char* type_of(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return "boolean";
    case Kind::integer:
    case Kind::dim:
    case Kind::index:
      return "integer";
    case Kind::number:
      return "number";
    case Kind::string:
      return "string";
    case Kind::ints:
    case Kind::shape:
      return "integer[]";
    case Kind::dims:
      return "integer|integer[]";
    case Kind::dtype:
      return "peri.dtype";
    case Kind::place:
      return "peri.place";
    case Kind::group:
      return "peri.Group|integer[]";
    case Kind::reduce:
      return "peri.reduce";
  }
  return "any";
}

struct Parameter {
  std::string name, type;
  bool optional = false;
};

bool is_optional(const AttributeInfo& a) {
  return a.fallback.has_value() || a.kind == Kind::group;
}

// An algorithm's type names those that the collective has.
std::string type_of(const OpInfo& row, const AttributeInfo& a) {
  std::vector<std::string> names;
  if (a.name == "algorithm")
    for (const AlgorithmInfo& algorithm : algorithms())
      if (algorithm.op == row.op) names.push_back(fmt::format("\"{}\"", algorithm.name));
  return names.empty() ? type_of(a.kind) : fmt::format("{}", fmt::join(names, "|"));
}

std::vector<Parameter> operands_of(const OpInfo& row) {
  if (row.max_operands < 0) return {{"tensors", "peri.Tensor[]"}};
  std::vector<Parameter> list;
  if (row.op == Op::barrier) return list;
  const char* type = row.has(kPointwise) ? "peri.Tensor|number" : "peri.Tensor";
  for (int i = 0; i < row.max_operands; ++i)
    list.push_back({std::string(1, static_cast<char>('a' + i)), type, i >= row.min_operands});
  return list;
}

std::vector<Parameter> attributes_of(const OpInfo& row) {
  std::vector<Parameter> list;
  for (const AttributeInfo& a : row.attributes)
    list.push_back({a.name == "end" ? "end_" : a.name, type_of(row, a), is_optional(a)});
  return list;
}

std::string signature(const std::vector<Parameter>& parameters, size_t from = 0) {
  std::string text;
  for (size_t i = from; i < parameters.size(); ++i)
    text += fmt::format("{}{}{}: {}", text.empty() ? "" : ", ", parameters[i].name,
                        parameters[i].optional ? "?" : "", parameters[i].type);
  return text;
}

struct Function {
  std::string owner;  // "peri.", "Tensor:", "symm."
  std::string name;
  std::string documentation;
  std::vector<Parameter> parameters;
  std::string returns = "peri.Tensor";
  std::vector<std::vector<Parameter>> overloads = {};
};

std::string text_of(const Function& f) {
  // The first parameter of a method is the tensor itself.
  const size_t from = f.owner == "Tensor:" ? 1 : 0;
  std::string text = "\n---" + f.documentation + "\n", names;
  for (size_t i = from; i < f.parameters.size(); ++i) {
    const Parameter& p = f.parameters[i];
    text += fmt::format("---@param {}{} {}\n", p.name, p.optional ? "?" : "", p.type);
    names += (names.empty() ? "" : ", ") + p.name;
  }
  if (!f.returns.empty()) text += "---@return " + f.returns + "\n";
  for (const auto& overload : f.overloads) {
    const std::string self = from ? "self: peri.Tensor" : "";
    const std::string rest = signature(overload, from);
    text += fmt::format("---@overload fun({}{}{}){}\n", self, !self.empty() && !rest.empty() ? ", " : "",
                        rest, f.returns.empty() ? "" : ": " + f.returns);
  }
  return text + fmt::format("function {}{}({}) end\n", f.owner, f.name, names);
}

// What an op takes, and as overloads what it takes too: attributes as a table, and a lookup's dimension
// before its index.
Function function_of(const OpInfo& row, const std::string& owner, const std::string& name) {
  Function f{owner, name, std::string(row.documentation), operands_of(row)};
  const std::vector<Parameter> operands = f.parameters, attributes = attributes_of(row);
  f.parameters.insert(f.parameters.end(), attributes.begin(), attributes.end());
  if (!attributes.empty()) {
    f.overloads.push_back(operands);
    f.overloads.back().push_back({"options", "peri.options." + std::string(row.name)});
  }
  if (row.min_operands > 1 && !row.attributes.empty() && row.attributes[0].kind == Kind::dim) {
    std::vector<Parameter> lookup = operands;
    lookup.insert(lookup.begin() + 1, attributes[0]);
    lookup.insert(lookup.end(), attributes.begin() + 1, attributes.end());
    f.overloads.push_back(std::move(lookup));
  }
  if (row.op == Op::send) f.returns = "";
  for (size_t i = 1; i < row.results; ++i) f.returns += ", peri.Tensor";
  return f;
}

std::string options_class(const OpInfo& row) {
  if (row.attributes.empty()) return "";
  std::string text = fmt::format("\n---@class peri.options.{}\n", row.name);
  for (const AttributeInfo& a : row.attributes)
    text += fmt::format("---@field {}{} {}\n", a.name, is_optional(a) ? "?" : "", type_of(row, a));
  return text;
}

std::string op_text(const OpInfo& row) {
  const std::string name(row.name);
  std::string text = options_class(row);
  if (row.op != Op::barrier) text += text_of(function_of(row, "peri.", name));
  if (row.has(kCreation) || row.max_operands < 1) return text;
  text += text_of(function_of(row, "Tensor:", name));
  if (lua::has_in_place_form(row.op)) {
    Function in_place = function_of(row, "Tensor:", name + "_");
    in_place.documentation += " In place.";
    text += text_of(in_place);
  }
  return text;
}

std::string algorithm_text(const AlgorithmInfo& a) {
  if (!collective_info(a.op).has_choice()) return "";
  const OpInfo& row = info(a.op);
  const std::string name = fmt::format("{}_{}", a.name, row.name);
  auto form = [&](const std::string& suffix, const std::string& how) {
    Function f = function_of(row, "symm.", name + suffix);
    f.documentation = fmt::format("{} By {}.{}", row.documentation, a.name, how);
    std::erase_if(f.parameters, [](const Parameter& p) { return p.name == "algorithm"; });
    if (suffix == "_out") f.parameters.push_back({"out", "peri.Tensor"});
    if (suffix == "_out")
      for (Parameter& p : f.parameters) p.optional = false;
    if (suffix == "_copy") f.parameters.insert(f.parameters.begin(), {"buffer", "peri.Tensor"});
    f.overloads.clear();
    if (suffix == "_out") f.overloads.push_back({f.parameters.front(), f.parameters.back()});
    return text_of(f);
  };
  std::string text = form("", "") + form("_out", " Writes its last argument.");
  if (lua::has_in_place_form(a.op)) text += form("_", " In place.");
  if (a.symmetric == kInput && !a.clobbers_input)
    text += form("_copy", " `a` is copied into the symmetric buffer first.");
  return text;
}

std::vector<Parameter> parse_parameters(std::string_view text) {
  std::vector<Parameter> list = {{"x", "peri.Tensor"}};
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(", "));
    const size_t space = one.find(' ');
    std::string name(one.substr(0, space));
    const bool optional = name.ends_with('?');
    if (optional) name.pop_back();
    list.push_back({name, std::string(one.substr(space + 1)), optional});
    text.remove_prefix(std::min(text.size(), one.size() + 2));
  }
  return list;
}

}  // namespace

std::string editor_stubs() {
  std::string text = kPreamble;
  for (int i = 0; i < kOpCount; ++i)
    if (const OpInfo& row = info(static_cast<Op>(i)); !row.has(kInternal)) text += op_text(row);
  for (const auto& [alias, name] : lua::kMethodAliases)
    text += text_of(function_of(info(*find_op(name)), "Tensor:", std::string(alias)));
  for (const AlgorithmInfo& a : algorithms()) text += algorithm_text(a);
  for (const Convenience& c : kConveniences)
    for (const char* owner : {"peri.", "Tensor:"})
      text += text_of({owner, c.name, c.documentation, parse_parameters(c.parameters), c.returns});
  return text + "\nreturn peri\n";
}

}  // namespace peri::commands
