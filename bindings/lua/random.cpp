// See random.hpp.
#include "bindings/lua/random.hpp"

#include <algorithm>

#include "bindings/session/session.hpp"

namespace peri::lua {

Status draw_seed(lua_State* L, Op op, Attributes& attributes) {
  const auto is_seed = [](const AttributeInfo& a) { return a.name == "seed"; };
  if (std::ranges::none_of(info(op).attributes, is_seed) || attributes.find("seed")) return {};
  session::Session& s = session(L);
  if (s.trace())
    return fail(Code::Unsupported,
                "needs a seed inside a compiled function, as all of its calls would give the same numbers",
                origin(L), "pass a seed, or make the tensor outside and pass it as an argument");
  attributes.set("seed", s.random_seeds().next());
  return {};
}

Result<int> set_seed(lua_State* L) {
  const int64_t seed = PERI_TRY(to_integer(L, 1, "seed: the number"));
  session::Session& s = session(L);
  if (s.trace())
    return fail(Code::Unsupported, "seed: a compiled function can't set the generator's seed", origin(L),
                "call it outside");
  s.random_seeds() = session::RandomSeeds(seed, s.rank());
  return 0;
}

}  // namespace peri::lua
