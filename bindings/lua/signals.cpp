// peri.symm.put, put_signal and wait_signal: one-sided writes into a peer's symmetric memory, and signals
// between two ranks. They work at once: what is written is no value of a program that could be planned.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "bindings/lua/module.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"

namespace peri::lua {
namespace {

// A tensor in symmetric memory, and another member of the group that shares it.
struct Target {
  kernels::Tensor tensor;
  kernels::SymmetricMemory* memory;
  int rank;    // global
  int member;  // its position in the group
};

// The arguments (x, rank, ...) of `name`.
Result<Target> read_target(lua_State* L, const char* name) {
  const auto refuse = [&](Code code, const std::string& message, std::string hint = "") {
    return fail(code, fmt::format("{}: {}", name, message), origin(L), std::move(hint));
  };
  if (session(L).trace())
    return refuse(Code::Unsupported, "works at once, and a function is being compiled",
                  "call it outside, or use send and recv, which a plan may hold");
  const session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, fmt::format("{}: x", name).c_str()));
  if (value->is_symbol()) return std::unexpected(named(session::refuse_symbol(origin(L)).error(), name));
  const kernels::Tensor& tensor = value->tensor();
  kernels::SymmetricMemory* memory = session(L).backend().symmetric_memory(*tensor.storage);
  if (!memory)
    return refuse(Code::InvalidArgument,
                  fmt::format("x : {} lies in ordinary memory", tensor.type.to_string()),
                  "peri.symm.empty makes a tensor in symmetric memory");
  const int64_t rank = PERI_TRY(to_integer(L, 2, fmt::format("{}: rank", name).c_str()));
  int member = -1;
  for (int i = 0; i < memory->group().size(); ++i)
    if (memory->group().ranks[static_cast<size_t>(i)] == rank) member = i;
  if (member < 0) return refuse(Code::InvalidArgument, not_in_group(memory->group(), rank));
  return Target{tensor, memory, static_cast<int>(rank), member};
}

// {channel = 0} at position 3.
Result<int> read_channel(lua_State* L, const char* name) {
  if (lua_isnoneornil(L, 3)) return 0;
  if (!lua_istable(L, 3))
    return fail(
        Code::InvalidArgument,
        fmt::format("{}: options must be a table such as {{channel = 1}}, not {}", name, type_name(L, 3)),
        origin(L));
  int64_t channel = 0;
  for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
    const std::string key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : type_name(L, -2);
    if (key != "channel")
      return fail(Code::NotFound, fmt::format("{}: no option '{}'", name, key), origin(L),
                  "there is: channel");
    channel = PERI_TRY(to_integer(L, lua_gettop(L), fmt::format("{}: channel", name).c_str()));
  }
  // One that is too large for an int is too large for the memory, too, which says how many channels there
  // are.
  return static_cast<int>(std::clamp<int64_t>(channel, -1, std::numeric_limits<int>::max()));
}

// peri.symm.put(x, rank, source)
Result<int> put(lua_State* L) {
  constexpr const char* kName = "symm.put";
  const Target to = PERI_TRY(read_target(L, kName));
  const session::ScriptValue* source = PERI_TRY(to_tensor(L, 3, "symm.put: source"));
  if (to.member == to.memory->index())
    return fail(Code::InvalidArgument, fmt::format("{}: a put to oneself", kName), origin(L),
                "x:copy_(source) writes this rank's own");
  if (source->is_symbol()) return std::unexpected(named(session::refuse_symbol(origin(L)).error(), kName));
  if (source->type() != to.tensor.type)
    return fail(Code::ShapeMismatch,
                fmt::format("{}: source is {}, and x is {}", kName, source->type().to_string(),
                            to.tensor.type.to_string()),
                origin(L));
  if (!to.tensor.view.is_contiguous())
    return fail(Code::InvalidArgument,
                fmt::format("{}: x is a view whose elements do not lie in order", kName), origin(L));
  const session::ScriptValue packed =
      source->tensor().view.is_contiguous()
          ? *source
          : PERI_TRY(session(L).apply(Op::contiguous, {*source}, {}, origin(L)));
  const std::byte* block = to.memory->buffer(to.memory->index());
  const Bytes offset(operand_of(to.tensor).data - block);
  PERI_TRY(to.memory->copy(to.member, offset, operand_of(packed.tensor()).data, to.tensor.type.bytes()));
  return 0;
}

// peri.symm.put_signal(x, rank, {channel = 0})
Result<int> put_signal(lua_State* L) {
  const Target to = PERI_TRY(read_target(L, "symm.put_signal"));
  const int channel = PERI_TRY(read_channel(L, "symm.put_signal"));
  const std::string what = fmt::format("put_signal to rank {}, channel {}", to.rank, channel);
  PERI_TRY(to.memory->put_signal(to.member, channel, what, origin(L)));
  return 0;
}

// peri.symm.wait_signal(x, rank, {channel = 0})
Result<int> wait_signal(lua_State* L) {
  const Target from = PERI_TRY(read_target(L, "symm.wait_signal"));
  const int channel = PERI_TRY(read_channel(L, "symm.wait_signal"));
  const std::string what = fmt::format("wait_signal from rank {}, channel {}", from.rank, channel);
  PERI_TRY(from.memory->wait_signal(from.member, channel, what, origin(L)));
  return 0;
}

}  // namespace

void register_signals(lua_State* L) {
  const std::pair<const char*, lua_CFunction> functions[] = {
      {"put", wrap<put>}, {"put_signal", wrap<put_signal>}, {"wait_signal", wrap<wait_signal>}};
  for (const auto& [name, function] : functions) {
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
  }
}

}  // namespace peri::lua
