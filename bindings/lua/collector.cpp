// See collector.hpp.
#include "bindings/lua/collector.hpp"

#include <algorithm>

#include "bindings/lua/lua.hpp"

namespace peri::lua {
namespace {

// Lua's collector goes once around its heap for so many bytes of new blocks for each KiB of heap, within
// these bounds. Few bytes keep the blocks that scripts drop and get again in the caches; going round a KiB
// takes some 0.4 us, and making so many bytes ten times as long.
constexpr Bytes kBytesACycleForKib(160 << 10);
constexpr Bytes kMinBytesACycle(8 << 20), kMaxBytesACycle(64 << 20);
// A collection costs about 0.3 us for each KiB of the heap. A tensor allows for some 2 us, and 5 us for each
// MiB: about what making and copying it costs.
constexpr int64_t kPerTensor = 8;  // KiB of heap
constexpr int64_t kBytesForOneOfHeap = 64;

struct LuaCollector {
  static constexpr const char* kLuaName = "peri.Collector";
  Collector collector;
};

}  // namespace

Collector& collector(lua_State* L) {
  static constexpr char kKey = 0;  // its address is the key
  lua_pushlightuserdata(L, const_cast<char*>(&kKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (auto* known = static_cast<LuaCollector*>(lua_touserdata(L, -1))) {
    lua_pop(L, 1);
    return known->collector;
  }
  lua_pop(L, 1);
  register_type<LuaCollector>(L, {});
  lua_pushlightuserdata(L, const_cast<char*>(&kKey));
  Collector& made = push<LuaCollector>(L).collector;
  lua_rawset(L, LUA_REGISTRYINDEX);
  return made;
}

void Collector::hand_out(lua_State* L, const session::ScriptValue& value) {
  if (value.is_symbol()) return;
  const kernels::Storage& block = *value.tensor().storage;
  allowance_ += kPerTensor + value.type().bytes().count() / kBytesForOneOfHeap / 1024;
  if (block.is_recurring()) return;  // there are few of them
  new_bytes_ += value.type().bytes();
  const int64_t heap_kib = lua_gc(L, LUA_GCCOUNT, 0);
  const Bytes cycle = std::clamp(kBytesACycleForKib * heap_kib, kMinBytesACycle, kMaxBytesACycle);
  const int64_t kib = heap_kib * std::min(new_bytes_, cycle).count() / cycle.count();
  if (kib == 0) return;
  new_bytes_ = {};
  lua_gc(L, LUA_GCSTEP, static_cast<int>(kib));
}

}  // namespace peri::lua
