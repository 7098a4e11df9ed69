// Tensors from and to safetensors files: peri.load, peri.save.
#include <fmt/format.h>

#include <algorithm>

#include "bindings/files/safetensors.hpp"
#include "bindings/lua/arguments.hpp"
#include "bindings/lua/module.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"

namespace peri::lua {
namespace {

struct LuaFile {
  static constexpr const char* kLuaName = "peri.File";
  files::SafetensorsFile file;
  std::string path;
};

Result<LuaFile*> to_file(lua_State* L, const char* what) {
  if (auto* file = test<LuaFile>(L, 1)) return file;
  return fail(Code::InvalidArgument, fmt::format("{}: called on {}, not on a file", what, type_name(L, 1)),
              origin(L));
}

// {shard = {dim, group}}: the part along `dim` (1-based) of this rank in the group.
struct Shard {
  int dim = 0;
  int64_t index = 0, count = 1;
};
Result<Shard> read_shard(lua_State* L, int index, const files::SafetensorsEntry& entry) {
  Shard shard;
  if (lua_isnoneornil(L, index)) return shard;
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument, "tensor: options must be a table, not " + type_name(L, index),
                origin(L));
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const std::string field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : type_name(L, -2);
    if (field != "shard")
      return std::unexpected(named(unknown("option", field, {"shard"}, origin(L)), "tensor"));
    if (!lua_istable(L, -1))
      return fail(Code::InvalidArgument, "tensor: shard must be {dim, group}", origin(L));
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    auto dim = read_position(L, -2, entry.shape.rank(), "dimension", "'" + entry.name + "'");
    if (!dim) return std::unexpected(named(std::move(dim).error(), "tensor: shard"));
    const Group group = lua_isnil(L, -1) ? session(L).world() : PERI_TRY(to_group(L, lua_gettop(L)));
    const int member = group.index_of(session(L).rank());
    if (member < 0)
      return fail(Code::InvalidArgument, "tensor: shard: " + not_in_group(group, session(L).rank()),
                  origin(L));
    shard = {static_cast<int>(*dim), member, group.size()};
    lua_pop(L, 3);
  }
  return shard;
}

// file:tensor(name, {shard = {dim, group}}): only this rank's part is read.
Result<int> file_tensor(lua_State* L) {
  LuaFile* self = PERI_TRY(to_file(L, "tensor"));
  const std::string name = PERI_TRY(to_text(L, 2, "tensor: the name"));
  const files::SafetensorsEntry& entry = *PERI_TRY(self->file.find(name));
  const Shard shard = PERI_TRY(read_shard(L, 3, entry));
  Shape shape = entry.shape;
  if (shard.count > 1) shape = PERI_TRY(shard_shape(entry, shard.dim, shard.count));
  session::Session& s = session(L);
  kernels::Tensor host = PERI_TRY(s.empty({entry.dtype, shape, Place::host}));
  const std::span<std::byte> bytes(host.data(), host.type.bytes().count());
  PERI_TRY(shard.count == 1 ? self->file.copy(entry, bytes)
                            : self->file.copy_shard(entry, shard.dim, shard.index, shard.count, bytes));
  kernels::Tensor device = PERI_TRY(s.empty({entry.dtype, shape, Place::device}));
  PERI_TRY(s.backend().copy(operand_of(host), operand_of(device)));
  push_tensor(L, {std::move(device), origin(L)});
  return 1;
}

Result<int> file_names(lua_State* L) {
  LuaFile* self = PERI_TRY(to_file(L, "names"));
  lua_newtable(L);
  int i = 0;
  for (const files::SafetensorsEntry& entry : self->file.entries()) {
    lua_pushlstring(L, entry.name.data(), entry.name.size());
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

Result<int> file_index(lua_State* L) {
  LuaFile* self = PERI_TRY(to_file(L, "file"));
  const std::string field = lua_isstring(L, 2) ? lua_tostring(L, 2) : type_name(L, 2);
  if (field == "tensor")
    lua_pushcfunction(L, wrap<file_tensor>);
  else if (field == "names")
    lua_pushcfunction(L, wrap<file_names>);
  else if (field == "metadata") {
    lua_newtable(L);
    for (const auto& [key, value] : self->file.metadata()) {
      lua_pushlstring(L, value.data(), value.size());
      lua_setfield(L, -2, key.c_str());
    }
  } else {
    return std::unexpected(unknown("field of a file", field, {"tensor", "names", "metadata"}, origin(L)));
  }
  return 1;
}

Result<int> file_to_string(lua_State* L) {
  LuaFile* self = PERI_TRY(to_file(L, "tostring"));
  lua_pushstring(L, fmt::format("[{}: {} tensors]", self->path, self->file.entries().size()).c_str());
  return 1;
}

Result<int> load(lua_State* L) {
  const std::string path = PERI_TRY(to_text(L, 1, "load: the path"));
  push<LuaFile>(L, PERI_TRY(files::SafetensorsFile::open(path)), path);
  return 1;
}

// peri.save(path, {name = tensor, ...} [, {key = "text", ...}])
Result<int> save(lua_State* L) {
  const std::string path = PERI_TRY(to_text(L, 1, "save: the path"));
  if (!lua_istable(L, 2))
    return fail(Code::InvalidArgument, "save: takes a table of named tensors, not " + type_name(L, 2),
                origin(L));
  std::vector<kernels::Tensor> held;  // the bytes that the entries point at
  std::vector<files::SafetensorsTensor> entries;
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      return fail(Code::InvalidArgument, "save: tensors are named by strings", origin(L));
    const std::string name = lua_tostring(L, -2);
    session::ScriptValue* value = PERI_TRY(to_tensor(L, -1, ("save: '" + name + "'").c_str()));
    if (value->is_symbol()) return fail(Code::InvalidArgument, "save: '" + name + "' is symbolic", origin(L));
    held.push_back(PERI_TRY(session(L).readable(value->tensor())));
    const kernels::Tensor& t = held.back();
    entries.push_back(
        {name, t.type.dtype, t.type.shape, {t.data(), static_cast<size_t>(t.type.bytes().count())}});
    lua_pop(L, 1);
  }
  std::map<std::string, std::string> metadata;
  if (!lua_isnoneornil(L, 3)) {
    if (!lua_istable(L, 3))
      return fail(Code::InvalidArgument, "save: metadata must be a table of strings", origin(L));
    lua_pushnil(L);
    while (lua_next(L, 3)) {
      metadata[PERI_TRY(to_text(L, -2, "save: a metadata key"))] = PERI_TRY(to_text(L, -1, "save: metadata"));
      lua_pop(L, 1);
    }
  }
  PERI_TRY(write_safetensors(path, std::move(entries), metadata));
  return 0;
}

}  // namespace

void register_files(lua_State* L) {
  register_type<LuaFile>(L, {{"__index", wrap<file_index>}, {"__tostring", wrap<file_to_string>}});
  lua_pushcfunction(L, wrap<load>);
  lua_setfield(L, -2, "load");
  lua_pushcfunction(L, wrap<save>);
  lua_setfield(L, -2, "save");
}

}  // namespace peri::lua
