// When Lua collects for the sake of tensors' memory. To Lua a tensor is a few dozen bytes, so by itself it
// collects dropped ones after thousands, each of which may hold gigabytes. So the bytes of new blocks drive
// its collector, in steps; and where a compiled function runs out of sets of outputs, which may all have been
// dropped, Lua is made to collect at once if that is worth its while.
#pragma once

#include <lua.hpp>

#include <cstdint>

#include "bindings/session/value.hpp"

namespace peri::lua {

class Collector {
 public:
  // Call it before the value gets a Lua object: it may collect.
  void hand_out(lua_State* L, const session::ScriptValue& value);

  // Collects (true if it did), to make `is_enough()` true, if so much has been handed out since the last time
  // that it costs little beside that. Each time that it fails, because the script holds its tensors, it is
  // tried half as often.
  template <class IsEnough>
  bool collect_for(lua_State* L, IsEnough is_enough) {
    if (allowance_ < patience_ * lua_gc(L, LUA_GCCOUNT, 0)) return false;
    allowance_ = 0;
    new_bytes_ = {};
    lua_gc(L, LUA_GCCOLLECT, 0);
    patience_ = is_enough() ? 1 : patience_ < kMaxPatience ? 2 * patience_ : patience_;
    return true;
  }

 private:
  static constexpr int64_t kMaxPatience = 64;

  // KiB of Lua's heap that a collection may cost.
  int64_t allowance_ = 0;
  int64_t patience_ = 1;
  // Of new blocks, since the last step.
  Bytes new_bytes_;
};

// That of this Lua state.
Collector& collector(lua_State* L);

}  // namespace peri::lua
