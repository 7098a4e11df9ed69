// The primitives over which a printed plan runs: allocate, view, launch and communicate,
// straight through the backend and through nothing of the executor, so that a plan's code is an oracle for
// it. Made from the op table; the format is described in planner/text/README.md, and scripts/peri/runtime.lua
// adds rt.program.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "bindings/lua/arguments.hpp"
#include "bindings/lua/module.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"
#include "core/ops/attributes_of.hpp"

namespace peri::lua {
namespace {

Result<kernels::Tensor> tensor_at(lua_State* L, int index, const std::string& what) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, index, what.c_str()));
  if (value->is_symbol())
    return fail(Code::InvalidArgument, what + " is symbolic; a plan runs on tensors", origin(L));
  return value->tensor();
}

// Shape, strides, dtype and place from `index` on, as every allocation names them.
struct Allocation {
  TensorType type;
  View view;
  int next = 0;
};
Result<Allocation> read_allocation(lua_State* L, int index, const char* function) {
  Allocation a;
  a.type.shape = PERI_TRY(read_shape(L, index, function));
  const Strides strides = PERI_TRY(read_strides(L, index + 1, function));
  a.type.dtype = PERI_TRY(parse_dtype(PERI_TRY(to_text(L, index + 2, function))));
  a.next = index + 3;
  if (lua_type(L, a.next) == LUA_TSTRING) a.type.place = PERI_TRY(parse_place(lua_tostring(L, a.next++)));
  a.view = {a.type.shape, strides, {}};
  if (!a.view.is_contiguous())
    return fail(Code::InvalidArgument,
                fmt::format("{}: a buffer is contiguous; windows on it are rt.view", function), origin(L));
  return a;
}

Result<int> empty_strided(lua_State* L) {
  const Allocation a = PERI_TRY(read_allocation(L, 1, "empty_strided"));
  push_tensor(L, {PERI_TRY(session(L).empty(a.type)), origin(L)});
  return 1;
}

Result<int> empty_strided_p2p(lua_State* L) {
  const Allocation a = PERI_TRY(read_allocation(L, 1, "empty_strided_p2p"));
  push_tensor(L, {PERI_TRY(session(L).empty_symmetric(a.type, PERI_TRY(to_group(L, a.next)))), origin(L)});
  return 1;
}

Result<int> reuse(lua_State* L) {
  kernels::Tensor t = PERI_TRY(tensor_at(L, 1, "reuse: the buffer"));
  const Allocation a = PERI_TRY(read_allocation(L, 2, "reuse"));
  if (a.type.bytes() > t.storage->bytes())
    return fail(Code::InvalidArgument,
                fmt::format("reuse: {} needs {} bytes, the buffer has {}", a.type.to_string(),
                            a.type.bytes().count(), t.storage->bytes().count()),
                origin(L));
  t.type = a.type;
  t.view = a.view;
  push_tensor(L, {std::move(t), origin(L)});
  return 1;
}

Result<int> view(lua_State* L) {
  kernels::Tensor t = PERI_TRY(tensor_at(L, 1, "view: the buffer"));
  View v;
  v.shape = PERI_TRY(read_shape(L, 2, "view: shape"));
  if (!lua_istable(L, 3)) return fail(Code::InvalidArgument, "view: strides must be a table", origin(L));
  // The first and the last element that the window reaches.
  int64_t low = PERI_TRY(to_integer(L, 4, "view: offset")) + t.view.offset.count(), high = low;
  v.offset = Elements(low);
  bool fits = true;
  for (int i = 0; i < v.shape.rank(); ++i) {
    lua_rawgeti(L, 3, i + 1);
    const int64_t stride = PERI_TRY(to_integer(L, -1, "view: a stride"));
    lua_pop(L, 1);
    v.strides.push_back(stride);
    int64_t extent = 0;
    int64_t& end = stride < 0 ? low : high;
    fits = fits && !__builtin_mul_overflow(stride, std::max<int64_t>(v.shape[i], 1) - 1, &extent) &&
           !__builtin_add_overflow(end, extent, &end);
  }
  fits = fits && low >= 0 && Elements(high) < elements_in(t.storage->bytes(), t.type.dtype);
  if (numel(v.shape) > 0 && !fits)
    return fail(Code::InvalidArgument, "view: the window lies outside the buffer", origin(L));
  t.type.shape = v.shape;
  t.view = v;
  push_tensor(L, {std::move(t), origin(L)});
  return 1;
}

Result<int> release(lua_State* L) {
  PERI_TRY(tensor_at(L, 1, "free: the buffer"));
  return 0;
}

Result<int> copy(lua_State* L) {
  const kernels::Tensor from = PERI_TRY(tensor_at(L, 1, "copy: from")),
                        to = PERI_TRY(tensor_at(L, 2, "copy: to"));
  if (from.type.dtype != to.type.dtype || from.type.shape != to.type.shape)
    return fail(Code::ShapeMismatch,
                fmt::format("copy: from {} to {}", from.type.to_string(), to.type.to_string()), origin(L));
  PERI_TRY(session(L).backend().copy(operand_of(from), operand_of(to)));
  return 0;
}

std::vector<kernels::Operand> operands_of(const std::vector<kernels::Tensor>& tensors) {
  std::vector<kernels::Operand> operands;
  for (const kernels::Tensor& t : tensors) operands.push_back(operand_of(t));
  return operands;
}

// "add f32 1 2": an op, its result's dtype, the registers it reads (from 1); "full f32 0.5": an immediate.
Result<FusedInstruction> read_instruction(lua_State* L, const std::string& text, const std::string& call) {
  std::istringstream words(text);
  std::string name, dtype, number;
  words >> name >> dtype;
  const auto op = find_op(name);
  if (!op || (*op != Op::full && !info(*op).has(kPointwise)))
    return std::unexpected(unknown("pointwise op", name, op_names(), origin(L), "ops"));
  FusedInstruction instruction{*op, {}, PERI_TRY(parse_dtype(dtype))};
  while (words >> number) {
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);  // reads inf and nan too, which streams do not
    if (*end)
      return fail(Code::InvalidArgument, fmt::format("{}: '{}' is not a number in '{}'", call, number, text),
                  origin(L));
    if (*op == Op::full)
      instruction.value = value;
    else
      instruction.operands.push_back(static_cast<int>(value) - 1);
  }
  return instruction;
}

// {operands = {"f32"}, "exp f32 1", ..., results = {2}}, at the absolute `index`; `name` is the call's.
Result<FusedProgram> read_program(lua_State* L, int index, const std::string& name) {
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument, name + ": the program must be a table", origin(L));
  FusedProgram program;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, index)); ++i) {
    lua_rawgeti(L, index, i);
    const std::string text = PERI_TRY(to_text(L, -1, (name + ": an instruction").c_str()));
    lua_pop(L, 1);
    program.instructions.push_back(PERI_TRY(read_instruction(L, text, name)));
  }
  lua_getfield(L, index, "operands");
  for (int i = 1; lua_istable(L, -1) && i <= static_cast<int>(lua_objlen(L, -1)); ++i) {
    lua_rawgeti(L, -1, i);
    program.operand_dtypes.push_back(
        PERI_TRY(parse_dtype(PERI_TRY(to_text(L, -1, (name + ": an operand's dtype").c_str())))));
    lua_pop(L, 1);
  }
  lua_getfield(L, index, "results");
  if (!lua_istable(L, -1))
    return fail(Code::InvalidArgument, name + ": results must be a table of registers", origin(L));
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, -1)); ++i) {
    lua_rawgeti(L, -1, i);
    program.results.push_back(static_cast<int>(PERI_TRY(to_integer(L, -1, (name + ": a result").c_str()))) -
                              1);
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
  return program;
}

// Tensors from the stack's beginning, then the options table, if there is one.
struct CallArguments {
  std::vector<kernels::Tensor> tensors;
  Attributes attributes;
  bool end_barrier = true;
  Epilogue epilogue;
};
Result<CallArguments> read_call(lua_State* L, Op op, const std::string& name) {
  CallArguments call;
  int i = 1;
  for (; test<LuaTensor>(L, i); ++i) call.tensors.push_back(PERI_TRY(tensor_at(L, i, name + ": an operand")));
  if (lua_isnoneornil(L, i)) return call;
  if (!lua_istable(L, i))
    return fail(Code::InvalidArgument,
                fmt::format("{}: an operand must be a tensor, not {}", name, type_name(L, i)), origin(L));
  const OpInfo& row = info(op);
  lua_pushnil(L);
  while (lua_next(L, i)) {
    const std::string field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : type_name(L, -2);
    auto found = std::find_if(row.attributes.begin(), row.attributes.end(),
                              [&](const auto& a) { return a.name == field; });
    if (field == "end_barrier")
      call.end_barrier = lua_toboolean(L, -1) != 0;
    else if (field == "algorithm" && row.has(kCollective))
      call.attributes.set(field, PERI_TRY(to_text(L, -1, "algorithm")));
    else if (field == "epilogue" && row.has(kCollective))
      call.epilogue.program = PERI_TRY(read_program(L, lua_gettop(L), name));
    else if (field == "rms_norm_eps" && row.has(kCollective))
      call.epilogue.rms_norm_eps = PERI_TRY(to_number(L, -1, "rms_norm_eps"));
    else if (found == row.attributes.end())
      return std::unexpected(
          named(unknown("option", field, {}, origin(L), name.substr(0, name.rfind("_out"))), name));
    else
      call.attributes.set(field, PERI_TRY(read_attribute(L, lua_gettop(L), *found)));
    lua_pop(L, 1);
  }
  return call;
}

// What a call would make, so that a wrong output is an error and not a wild write.
Result<Attributes> check_call(Op op, const CallArguments& call, std::span<const kernels::Tensor> inputs,
                              std::span<const kernels::Tensor> outputs, const std::string& name) {
  std::vector<TensorType> types;
  for (const kernels::Tensor& t : inputs) types.push_back(t.type);
  Attributes given = call.attributes;
  const OpInfo& row = info(op);
  if (row.has(kCollective) && !std::any_of(row.attributes.begin(), row.attributes.end(),
                                           [](const auto& a) { return a.name == "algorithm"; }))
    given = [&] {
      Attributes rest;
      for (const auto& [key, value] : call.attributes.items())
        if (key != "algorithm") rest.set(key, value);
      return rest;
    }();
  Attributes attributes = PERI_TRY(complete(op, given, types));
  const ResultTypes made = PERI_TRY(infer_results(op, types, attributes));
  for (size_t i = 0; i < outputs.size(); ++i)
    if (const TensorType& output = outputs[i].type;
        made[i].dtype != output.dtype || numel(made[i].shape) != numel(output.shape))
      return fail(Code::ShapeMismatch, fmt::format("{}: makes {}, the output is {}", name,
                                                   made[i].to_string(), output.to_string()));
  return attributes;
}

Status communicate(lua_State* L, Op op, const CallArguments& call, const Attributes& attributes,
                   std::span<const kernels::Operand> inputs, std::span<const kernels::Operand> outputs) {
  const AlgorithmInfo* algorithm = find_algorithm(op, Algorithm::ll);
  if (const auto name = call.attributes.find<"algorithm">()) {
    auto row = parse_algorithm(op, *name);
    if (!row) return std::unexpected(named(row.error(), std::string(to_string(op))));
    algorithm = *row;
  }
  CollectiveSpec spec = collective_spec(op, attributes, *algorithm, origin(L));
  spec.end_barrier = call.end_barrier;
  spec.epilogue = call.epilogue;
  return session(L).backend().collective(spec, inputs, outputs);
}

// The outputs of an _out call, its last `count` tensors, which are taken from the others.
Result<std::vector<kernels::Tensor>> take_outputs(lua_State* L, CallArguments& call, size_t count,
                                                  const std::string& name) {
  if (call.tensors.size() < count)
    return fail(Code::InvalidArgument,
                count == 1 ? name + ": the last operand is the output"
                           : fmt::format("{}: the last {} operands are the outputs", name, count),
                origin(L));
  const auto first = call.tensors.end() - static_cast<int>(count);
  std::vector<kernels::Tensor> outputs(first, call.tensors.end());
  call.tensors.erase(first, call.tensors.end());
  return outputs;
}

// rt.<op>_out(inputs..., outputs..., {options})
Result<int> kernel_out(lua_State* L) {
  const Op op = static_cast<Op>(lua_tointeger(L, lua_upvalueindex(1)));
  const std::string name = std::string(to_string(op)) + "_out";
  CallArguments call = PERI_TRY(read_call(L, op, name));
  const auto outputs = PERI_TRY(take_outputs(L, call, info(op).results, name));
  const Attributes attributes = PERI_TRY(check_call(op, call, call.tensors, outputs, name));
  PERI_TRY(
      session(L).backend().launch({op, attributes, {}}, operands_of(call.tensors), operands_of(outputs)));
  return 0;
}

// rt.<collective>_out(input, output, {options}); with an epilogue: (input, its inputs..., outputs...,
// {options})
Result<int> collective_out(lua_State* L) {
  const Op op = static_cast<Op>(lua_tointeger(L, lua_upvalueindex(1)));
  const std::string name = std::string(to_string(op)) + "_out";
  CallArguments call = PERI_TRY(read_call(L, op, name));
  const auto outputs =
      PERI_TRY(take_outputs(L, call, static_cast<size_t>(call.epilogue.output_count()), name));
  const CollectiveInfo& row = collective_info(op);
  if (row.inputs == 0 && call.tensors.empty()) call.tensors.push_back(outputs[0]);  // it only names the type
  std::span<const kernels::Tensor> operands = call.tensors;
  if (!call.epilogue.empty()) operands = operands.first(std::min<size_t>(operands.size(), 1));
  const Attributes attributes = PERI_TRY(check_call(op, call, operands, std::span(outputs).first(1), name));
  PERI_TRY(communicate(L, op, call, attributes,
                       row.inputs > 0 ? operands_of(call.tensors) : std::vector<kernels::Operand>(),
                       row.outputs > 0 ? operands_of(outputs) : std::vector<kernels::Operand>()));
  return 0;
}

// rt.<collective>(input, {options}): the result is allocated by the call, and is the item of a table. send
// and barrier give nothing.
Result<int> call_fallback(lua_State* L) {
  const Op op = static_cast<Op>(lua_tointeger(L, lua_upvalueindex(1)));
  const std::string name(to_string(op));
  CallArguments call = PERI_TRY(read_call(L, op, name));
  session::Session& s = session(L);
  if (call.tensors.size() != 1) return fail(Code::InvalidArgument, name + ": takes one operand", origin(L));
  const Attributes attributes = PERI_TRY(check_call(op, call, call.tensors, {}, name));
  const kernels::Operand in = operand_of(call.tensors[0]);
  if (collective_info(op).outputs == 0) {
    PERI_TRY(communicate(L, op, call, attributes, {&in, 1}, {}));
    return 0;
  }
  const TensorType type = PERI_TRY(infer(op, {&call.tensors[0].type, 1}, attributes));
  kernels::Tensor output = PERI_TRY(s.empty(type));
  const kernels::Operand out = operand_of(output);
  PERI_TRY(communicate(L, op, call, attributes, {&in, static_cast<size_t>(collective_info(op).inputs)},
                       {&out, 1}));
  lua_newtable(L);
  push_tensor(L, {std::move(output), origin(L)});
  lua_rawseti(L, -2, 1);
  return 1;
}

Result<std::vector<kernels::Tensor>> read_tensors(lua_State* L, int index, const char* what) {
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument, fmt::format("{} must be a table of tensors", what), origin(L));
  std::vector<kernels::Tensor> tensors;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, index)); ++i) {
    lua_rawgeti(L, index, i);
    auto tensor = tensor_at(L, lua_gettop(L), what);
    lua_pop(L, 1);
    tensors.push_back(PERI_TRY(tensor));
  }
  return tensors;
}

// rt.fused_out({inputs}, {outputs}, {operands = {"f32"}, "exp f32 1", ..., results = {2}})
Result<int> fused_out(lua_State* L) {
  const auto inputs = PERI_TRY(read_tensors(L, 1, "fused_out: the inputs"));
  const auto outputs = PERI_TRY(read_tensors(L, 2, "fused_out: the outputs"));
  KernelSpec spec;
  spec.fused = PERI_TRY(read_program(L, 3, "fused_out"));
  spec.fused.operand_dtypes.clear();  // the inputs' own
  for (const kernels::Tensor& t : inputs) spec.fused.operand_dtypes.push_back(t.type.dtype);
  PERI_TRY(session(L).backend().launch(spec, operands_of(inputs), operands_of(outputs)));
  return 0;
}

void add(lua_State* L, const std::string& name, lua_CFunction function, Op op) {
  lua_pushinteger(L, static_cast<int>(op));
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, -2, name.c_str());
}

}  // namespace

void push_runtime(lua_State* L) {
  lua_newtable(L);
  const std::vector<Method> functions = {
      {"empty_strided", wrap<empty_strided>},
      {"empty_strided_p2p", wrap<empty_strided_p2p>},
      {"reuse", wrap<reuse>},
      {"view", wrap<view>},
      {"free", wrap<release>},
      {"input_copy", wrap<copy>},
      {"device_copy", wrap<copy>},
      {"fused_out", wrap<fused_out>},
  };
  for (const Method& f : functions) {
    lua_pushcfunction(L, f.function);
    lua_setfield(L, -2, f.name);
  }
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    if (row.has(kInternal) || row.has(kComposite) || row.has(kView)) continue;
    const bool communicates = row.has(kCollective);
    add(L, std::string(row.name) + "_out", communicates ? wrap<collective_out> : wrap<kernel_out>, row.op);
    if (communicates) add(L, std::string(row.name), wrap<call_fallback>, row.op);
  }
}

}  // namespace peri::lua
