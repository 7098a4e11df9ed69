// What a call of a compiled function does: it finds the compilation for its arguments and for what the
// function captures, or traces and compiles, and runs it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "bindings/lua/collector.hpp"
#include "bindings/lua/compiled_function.hpp"
#include "bindings/lua/tensor.hpp"

namespace peri::lua {
namespace {

constexpr int kDeepest = 100;  // compiled functions inside one another: each takes some of the C stack

// Runs the Lua function on the `count` values above the stack's `base`, which are popped; its results are
// taken apart.
Result<Tree> call_function(lua_State* L, int function, const Tree& arguments,
                           std::vector<session::ScriptValue> leaves,
                           std::vector<session::ScriptValue>& results) {
  const session::Session::Nested nested(session(L));
  if (nested.depth() > kDeepest)
    return fail(Code::InvalidArgument,
                fmt::format("compiled functions call each other more than {} deep", kDeepest), origin(L),
                "a function that calls itself must end by its plain arguments, not by tensors' values");
  const int base = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  luaL_checkstack(L, static_cast<int>(arguments.items.size()) + 8, "too many arguments");
  for (const auto& [key, item] : arguments.items) unflatten(L, item, leaves);
  if (lua_pcall(L, static_cast<int>(arguments.items.size()), LUA_MULTRET, 0) != 0)
    return std::unexpected(take_error(L));
  Tree tree;
  tree.kind = Tree::Kind::table;
  for (int i = base + 1; i <= lua_gettop(L); ++i)
    tree.items.emplace_back(Tree{}, PERI_TRY(flatten(L, i, results)));
  lua_settop(L, base);
  return tree;
}

// Traces the function on symbols of the arguments' types.
Result<Traced> trace(lua_State* L, const LuaCompiled& compiled, const Tree& arguments,
                     const std::vector<session::ScriptValue>& inputs, Captures& captures) {
  session::Session& s = session(L);
  auto trace = std::make_shared<session::Trace>(s.rank());
  const auto symbols_of =
      [&](const std::vector<session::ScriptValue>& tensors) -> Result<std::vector<session::ScriptValue>> {
    std::vector<session::ScriptValue> symbols;
    for (const session::ScriptValue& v : tensors)
      symbols.push_back(
          PERI_TRY(trace->input(v.type(), v.tensor().view, v.tensor().storage->allocator(), v.made)));
    return symbols;
  };
  Traced traced;
  std::vector<session::ScriptValue> results;
  std::vector<session::ScriptValue> symbols = PERI_TRY(symbols_of(inputs));
  captures.put(L, PERI_TRY(symbols_of(captures.inputs(L))));
  auto tree = [&] {
    const session::Session::Tracing tracing(s, trace);
    return call_function(L, compiled.function, arguments, std::move(symbols), results);
  }();
  if (!tree) {
    captures.restore(L, Captures::Restore::symbols);
    return std::unexpected(std::move(tree).error());
  }
  auto assigned = captures.assigned(L, results);
  captures.restore(L, Captures::Restore::all);
  traced.results = std::move(*tree);
  traced.assigned = PERI_TRY(std::move(assigned));
  traced.graph = PERI_TRY(trace->finish(results));
  traced.constants = trace->constants();
  traced.written = trace->written();
  traced.returned = trace->returned();
  return traced;
}

Result<Tree> take_arguments(lua_State* L, std::vector<session::ScriptValue>& leaves) {
  Tree arguments;
  arguments.kind = Tree::Kind::table;
  for (int i = 2; i <= lua_gettop(L); ++i)
    arguments.items.emplace_back(Tree{}, PERI_TRY(flatten(L, i, leaves)));
  return arguments;
}

int push_results(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& results) {
  for (const auto& [key, item] : tree.items) unflatten(L, item, results);
  return static_cast<int>(tree.items.size());
}

// Inside another compiled function: its operations join that function's.
Result<int> inline_call(lua_State* L, const LuaCompiled& compiled) {
  std::vector<session::ScriptValue> leaves, results;
  const Tree arguments = PERI_TRY(take_arguments(L, leaves));
  const Tree tree = PERI_TRY(call_function(L, compiled.function, arguments, std::move(leaves), results));
  return push_results(L, tree, results);
}

// --- which compilation ---

Specialisation* called(LuaCompiled& compiled, std::vector<Specialisation*>::iterator which) {
  std::rotate(compiled.recent.begin(), which, which + 1);
  return compiled.recent.front();
}

// The usual case, without taking anything apart: the arguments are like those of one of the last calls.
// nullptr if not.
Specialisation* find_recent(lua_State* L, LuaCompiled& compiled,
                            std::vector<const kernels::Tensor*>& tensors) {
  constexpr int64_t kTried = 4;
  const auto end = compiled.recent.begin() + std::min(std::ssize(compiled.recent), kTried);
  const auto found = std::find_if(compiled.recent.begin(), end, [&](const Specialisation* candidate) {
    return candidate->signature.matches(L, 2, tensors) && candidate->captures.match(L, tensors);
  });
  return found == end ? nullptr : called(compiled, found);
}

// Once, when the third call in a row has to be compiled because of one captured variable.
void warn_of_changes(lua_State* L, LuaCompiled& compiled, const Captured& changed) {
  constexpr int kPatience = 3;
  if (std::exchange(compiled.changing, changed.cell) != changed.cell) compiled.changes_in_a_row = 0;
  if (++compiled.changes_in_a_row < kPatience || std::exchange(compiled.warned, true)) return;
  fmt::print(stderr,
             "{}: note: the function at {} is compiled at every call, because the captured variable '{}' "
             "changes\n   hint: pass it as a tensor, or capture a tensor that is changed in place\n",
             origin(L).to_string(), compiled.name, changed.name);
}

// Of one signature so many compilations are kept, for values of the captured variables that come again.
constexpr int64_t kMaxKept = 8;

// Drops the one that was called longest ago, if there are too many.
void make_room(LuaCompiled& compiled, const Signature& signature) {
  int64_t count = 0;
  auto oldest = compiled.recent.end();
  for (auto it = compiled.recent.begin(); it != compiled.recent.end(); ++it) {
    if ((*it)->signature != signature) continue;
    oldest = it;
    ++count;
  }
  if (count < kMaxKept) return;
  const Specialisation* dropped = *oldest;
  compiled.recent.erase(oldest);
  std::erase_if(compiled.specialisations, [&](const auto& s) { return s.get() == dropped; });
}

// Traces and compiles. If that has been done for this signature before, what the function captures has
// changed.
Result<Specialisation*> specialise(lua_State* L, LuaCompiled& compiled, Signature signature,
                                   const std::vector<session::ScriptValue>& leaves) {
  std::string reason;
  const auto before = std::ranges::find(compiled.recent, signature, &Specialisation::signature);
  const Captured* changed = before == compiled.recent.end() ? nullptr : (*before)->captures.first_change(L);
  if (changed) {
    reason = fmt::format(" (the captured variable '{}' has changed)", changed->name);
    warn_of_changes(L, compiled, *changed);
  }
  for (const auto& known : compiled.specialisations) known->captures.find_replaced(L, compiled.replaced);
  Captures captures = PERI_TRY(Captures::take(L, compiled.function, compiled.replaced));
  const session::Agreement agreement{compiled.agreement, reason, captures.describe(L)};
  Traced traced = PERI_TRY(trace(L, compiled, signature.arguments(), leaves, captures));
  session::CompiledProgram program =
      PERI_TRY(compile(session(L), std::move(traced.graph), traced.constants, compiled.policy, agreement));
  make_room(compiled, signature);
  compiled.specialisations.push_back(std::make_unique<Specialisation>(
      Specialisation{std::move(signature), std::move(captures), std::move(traced), std::move(program)}));
  compiled.recent.push_back(compiled.specialisations.back().get());
  return called(compiled, compiled.recent.end() - 1);
}

// Takes the arguments apart, and compiles for them if that has not been done. `leaves` keep the tensors.
Result<Specialisation*> find_or_compile(lua_State* L, LuaCompiled& compiled,
                                        std::vector<session::ScriptValue>& leaves,
                                        std::vector<const kernels::Tensor*>& tensors) {
  Tree arguments = PERI_TRY(take_arguments(L, leaves));
  for (const session::ScriptValue& v : leaves)
    if (v.is_symbol())
      return fail(Code::InvalidArgument,
                  "a symbolic tensor of a function that has been traced is passed to a compiled function",
                  origin(L));
  Signature signature(std::move(arguments), leaves);
  const auto take_leaves = [&] {
    tensors.clear();
    for (const session::ScriptValue& v : leaves) tensors.push_back(&v.tensor());
  };
  const auto end_compiling = [](bool* compiling) { *compiling = false; };
  const std::unique_ptr<bool, decltype(end_compiling)> compiling(&compiled.compiling, end_compiling);
  compiled.compiling = true;
  for (auto known = compiled.recent.begin(); known != compiled.recent.end(); ++known) {
    take_leaves();
    if ((*known)->signature != signature || !(*known)->captures.match(L, tensors)) continue;
    Specialisation* entry = called(compiled, known);
    if (compiled.check)
      PERI_TRY(check_traced(compiled, *entry,
                            PERI_TRY(trace(L, compiled, signature.arguments(), leaves, entry->captures))));
    return entry;
  }
  Specialisation* entry = PERI_TRY(specialise(L, compiled, std::move(signature), leaves));
  take_leaves();
  PERI_CHECK(entry->captures.match(L, tensors), "what was captured is as it was");
  return entry;
}

// --- results ---

// The caller's tensors, from what a call has made and what it was given.
Result<std::vector<session::ScriptValue>> take_results(lua_State* L, const Specialisation& entry,
                                                       std::vector<kernels::Tensor> outputs,
                                                       const std::vector<const kernels::Tensor*>& arguments) {
  const Origin here = origin(L);
  std::vector<session::ScriptValue> results;
  results.reserve(entry.traced.returned.size());
  for (const session::Returned& r : entry.traced.returned) {
    switch (r.from) {
      case session::Returned::From::output:
        results.push_back({outputs[r.index], here});
        break;
      case session::Returned::From::argument:
        results.push_back({*arguments[r.index], here});
        break;
      case session::Returned::From::captured:
        results.push_back({r.captured, here});
        break;
    }
    for (const auto& [op, attributes] : r.views)
      results.back() = PERI_TRY(session(L).apply(op, {results.back()}, attributes, here));
  }
  return results;
}

// Pushes the results, and sets the captured variables that the function sets.
int give_results(lua_State* L, const Specialisation& entry, std::vector<session::ScriptValue>& results) {
  for (const Assigned& a : entry.traced.assigned) {
    unflatten(L, a.value, results);
    entry.captures.assign(L, a.captured);
  }
  return push_results(L, entry.traced.results, results);
}

}  // namespace

Result<LuaCompiled*> to_compiled(lua_State* L, const char* what) {
  if (auto* compiled = test<LuaCompiled>(L, 1)) return compiled;
  return fail(Code::InvalidArgument,
              fmt::format("{}: called on {}, not on a compiled function", what, type_name(L, 1)), origin(L));
}

Result<int> call_compiled(lua_State* L) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, "compiled function"));
  if (session(L).trace()) return inline_call(L, *compiled);
  if (compiled->compiling)
    return fail(Code::InvalidArgument, fmt::format("{} is called while it is compiled", compiled->name),
                origin(L), "its policy must not call it");
  std::vector<const kernels::Tensor*> tensors = std::move(compiled->tensors);
  std::vector<session::ScriptValue> leaves;
  Specialisation* entry = compiled->check ? nullptr : find_recent(L, *compiled, tensors);
  if (entry && !entry->program.executable->has_free_outputs()) {
    const bool collected =
        collector(L).collect_for(L, [&] { return entry->program.executable->has_free_outputs(); });
    if (collected) entry = find_recent(L, *compiled, tensors);  // finalizers may have changed the arguments
  }
  if (entry)
    compiled->changes_in_a_row = 0;
  else
    entry = PERI_TRY(find_or_compile(L, *compiled, leaves, tensors));
  for (const kernels::Tensor& t : entry->traced.written) tensors.push_back(&t);
  std::vector<kernels::Tensor> outputs = PERI_TRY(entry->program.executable->call(tensors));
  std::vector<session::ScriptValue> results = PERI_TRY(take_results(L, *entry, std::move(outputs), tensors));
  compiled->tensors = std::move(tensors);
  return give_results(L, *entry, results);
}

}  // namespace peri::lua
