// See environment.hpp.
#include "bindings/lua/environment.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bindings/lua/chunk.hpp"
#include "bindings/lua/module.hpp"
#include "bindings/session/session.hpp"

namespace peri::lua {
namespace {

// A searcher for `peri` and `peri.*`, ahead of package.path: its chunks are named "=peri/...", which keeps
// them out of the lines that errors point at.
Result<int> search_library(lua_State* L) {
  const std::string name = PERI_TRY(to_text(L, 1, "require: the module's name"));
  if (name != "peri" && !name.starts_with("peri.")) {
    lua_pushnil(L);
    return 1;
  }
  std::string relative = name == "peri" ? "peri/init" : name;
  for (char& c : relative)
    if (c == '.') c = '/';
  const std::string path = library_folder() + "/" + relative + ".lua";
  std::ifstream file(path);
  if (!file) {
    lua_pushfstring(L, "\n\tno file '%s'", path.c_str());
    return 1;
  }
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  if (luaL_loadbufferx(L, text.data(), text.size(), ("=" + relative + ".lua").c_str(), "t") != 0)
    return std::unexpected(take_error(L));
  return 1;
}

// The user's own modules, loaded as the script itself is.
Result<int> search_path(lua_State* L) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchpath");
  lua_pushvalue(L, 1);
  lua_getfield(L, -3, "path");
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2)) return 1;  // the message that names the places tried
  PERI_TRY(load_file(L, lua_tostring(L, -2)));
  return 1;
}

// Reading a global that nobody has set is an error with the nearest name; functions may only set globals that
// the main chunk has set before.
Result<int> read_global(lua_State* L) {
  const std::string name = lua_isstring(L, 2) ? lua_tostring(L, 2) : type_name(L, 2);
  std::vector<std::string> known;
  lua_pushnil(L);
  while (lua_next(L, LUA_GLOBALSINDEX)) {
    if (lua_type(L, -2) == LUA_TSTRING) known.emplace_back(lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  Error error = unknown("global", name, known, origin(L));
  if (!nearest(name, known)) error.hint = "set it in the main chunk, or write 'local' where it is made";
  return std::unexpected(std::move(error));
}

Result<int> write_global(lua_State* L) {
  lua_Debug frame;
  const bool in_function = lua_getstack(L, 1, &frame) && lua_getinfo(L, "S", &frame) && *frame.what == 'L';
  if (in_function) {
    const std::string name = lua_isstring(L, 2) ? lua_tostring(L, 2) : type_name(L, 2);
    return fail(Code::NotFound, fmt::format("assignment to undeclared global '{}'", name), origin(L),
                "write 'local' in front of it, or set it in the main chunk first");
  }
  lua_rawset(L, 1);
  return 0;
}

// print(...), which writes its text at once: written in pieces, as Lua's own does, it would be torn by what
// other ranks print.
int print_whole(lua_State* L) {
  const int count = lua_gettop(L);
  luaL_Buffer text;
  lua_getglobal(L, "tostring");
  for (int i = 1; i <= count; ++i) {
    lua_pushvalue(L, count + 1);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    if (!lua_isstring(L, -1)) return luaL_error(L, "'tostring' must return a string to 'print'");
    lua_replace(L, i);
  }
  lua_settop(L, count);
  luaL_buffinit(L, &text);
  for (int i = 1; i <= count; ++i) {
    if (i > 1) luaL_addchar(&text, '\t');
    lua_pushvalue(L, i);
    luaL_addvalue(&text);
  }
  luaL_addchar(&text, '\n');
  luaL_pushresult(&text);
  size_t length = 0;
  const char* whole = lua_tolstring(L, -1, &length);
  std::fwrite(whole, 1, length, stdout);
  return 0;
}

// os.exit([code]) in the job's way: who waits for this rank learns at once that it is gone, and from where.
Result<int> exit_script(lua_State* L) {
  int code = lua_isboolean(L, 1) && !lua_toboolean(L, 1) ? 1 : 0;
  if (!lua_isnoneornil(L, 1) && !lua_isboolean(L, 1)) {
    const int64_t number = PERI_TRY(to_integer(L, 1, "os.exit: the code"));
    if (number < 0 || number > 255)  // the system would keep the last eight bits of it
      return fail(Code::InvalidArgument,
                  fmt::format("os.exit: the code must be from 0 to 255, not {}", number), origin(L));
    code = static_cast<int>(number);
  }
  kernels::Backend& backend = session(L).backend();
  if (code == 0)
    PERI_TRY(backend.synchronize());  // what a device has yet to tell
  else
    backend.abort({Code::ScriptError, fmt::format("os.exit({})", code), origin(L)});
  backend.leave();
  std::fflush(nullptr);
  lua_close(L);
  std::exit(code);
}

void make_globals_strict(lua_State* L) {
  lua_newtable(L);
  lua_pushcfunction(L, wrap<read_global>);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, wrap<write_global>);
  lua_setfield(L, -2, "__newindex");
  lua_setmetatable(L, LUA_GLOBALSINDEX);
}

void set_preload(lua_State* L, const char* name, lua_CFunction function) {
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, function);
  lua_setfield(L, -2, name);
  lua_pop(L, 2);
}

int open_core(lua_State* L) {
  push_module(L);
  return 1;
}
int open_runtime(lua_State* L) {
  push_runtime(L);
  return 1;
}

void set_up_require(lua_State* L, const std::string& script) {
  set_preload(L, "peri.core", open_core);
  set_preload(L, "peri.primitives", open_runtime);
  lua_getglobal(L, "package");
  const std::string folder = std::filesystem::path(script).parent_path().string();
  const std::string path = fmt::format("{0}/?.lua;{0}/?/init.lua", folder.empty() ? "." : folder);
  lua_pushstring(L, path.c_str());
  lua_setfield(L, -2, "path");
  // The order is: preloaded, ours, the user's (in place of Lua's own for Lua files), then Lua's for C
  // modules.
  lua_getfield(L, -1, "loaders");
  for (int i = static_cast<int>(lua_objlen(L, -1)); i >= 3; --i) {
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, wrap<search_library>);
  lua_rawseti(L, -2, 2);
  lua_pushcfunction(L, wrap<search_path>);
  lua_rawseti(L, -2, 3);
  lua_pop(L, 2);
}

}  // namespace

std::string library_folder() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length > 0) {
    const auto installed =
        std::filesystem::path(std::string(path, static_cast<size_t>(length))).parent_path() /
        "../share/peri/lua";
    std::error_code ignored;
    if (std::filesystem::exists(installed / "peri/init.lua", ignored))
      return installed.lexically_normal().string();
  }
  return PERI_SOURCE_DIR "/scripts";
}

void set_up_environment(lua_State* L, const std::string& script, const std::vector<std::string>& arguments) {
  luaL_openlibs(L);
  set_up_require(L, script);
  lua_createtable(L, static_cast<int>(arguments.size()), 1);
  lua_pushstring(L, script.c_str());
  lua_rawseti(L, -2, 0);
  for (size_t i = 0; i < arguments.size(); ++i) {
    lua_pushstring(L, arguments[i].c_str());
    lua_rawseti(L, -2, static_cast<int>(i + 1));
  }
  lua_setglobal(L, "arg");
  register_results(L);
  lua_pushcfunction(L, print_whole);
  lua_setglobal(L, "print");
  lua_getglobal(L, "os");
  lua_pushcfunction(L, wrap<exit_script>);
  lua_setfield(L, -2, "exit");
  lua_pop(L, 1);
  make_globals_strict(L);
}

}  // namespace peri::lua
