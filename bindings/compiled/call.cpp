// What a call of a compiled function does: it finds the compilation for its arguments and for what the
// function captures, or traces and compiles, and runs it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "bindings/compiled/function.hpp"
#include "bindings/lua/collector.hpp"
#include "bindings/lua/tensor.hpp"

namespace peri::lua::compiled {
namespace {

constexpr int kDeepest = 100;  // compiled functions inside one another: each takes some of the C stack

Status check_depth(lua_State* L, const session::Session::Nested& nested) {
  if (nested.depth() <= kDeepest) return {};
  return fail(Code::InvalidArgument,
              fmt::format("compiled functions call each other more than {} deep", kDeepest), origin(L),
              "a function that calls itself must end by its plain arguments, not by tensors' values");
}

// The values above the stack's `base`, as one table.
Result<Tree> take_values(lua_State* L, int base, std::vector<session::ScriptValue>& leaves,
                         MetTables& tables) {
  Tree values;
  values.kind = Tree::Kind::table;
  for (int i = base + 1; i <= lua_gettop(L); ++i)
    values.items.emplace_back(Tree{}, PERI_TRY(flatten(L, i, leaves, tables)));
  return values;
}

Result<Tree> take_arguments(lua_State* L, std::vector<session::ScriptValue>& leaves) {
  MetTables tables;
  return take_values(L, 1, leaves, tables);
}

// What a trace leaves beside its graph.
struct Outcome {
  Tree results;
  std::vector<Assigned> assigned;
  std::vector<ChangedField> changed;
};

// Runs the function on `symbols` in place of the arguments' tensors; tensors of the outcome go to `leaves`.
Result<Outcome> run_traced(lua_State* L, const LuaCompiled& compiled, const Tree& arguments,
                           const Captures& captures, std::vector<session::ScriptValue> symbols,
                           std::vector<session::ScriptValue>& leaves) {
  const session::Session::Nested nested(session(L));
  PERI_TRY(check_depth(L, nested));
  luaL_checkstack(L, static_cast<int>(arguments.items.size()) + 8, "too many arguments");
  TracedTables copies(L);
  const int base = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, compiled.function);
  for (const auto& [key, item] : arguments.items) unflatten(L, item, symbols, copies.index());
  MetTables tables = copies.remember(L);
  if (lua_pcall(L, static_cast<int>(arguments.items.size()), LUA_MULTRET, 0) != 0) {
    captures.restore(L, Captures::Restore::symbols);
    return std::unexpected(take_error(L));
  }
  Outcome outcome;
  auto results = take_values(L, base, leaves, tables);
  auto assigned = captures.assigned(L, leaves, tables);
  captures.restore(L, Captures::Restore::all);
  outcome.results = PERI_TRY(std::move(results));
  outcome.assigned = PERI_TRY(std::move(assigned));
  outcome.changed = PERI_TRY(copies.changed(L, leaves, tables));
  lua_settop(L, base - 2);
  return outcome;
}

bool repeats_tables(const Tree& tree) {
  return tree.kind == Tree::Kind::same_table ||
         std::ranges::any_of(tree.items, [](const Tree::Item& item) { return repeats_tables(item.value); });
}

// Traces the function on symbols of the arguments' types.
Result<Traced> trace(lua_State* L, const LuaCompiled& compiled, const Tree& arguments,
                     const std::vector<session::ScriptValue>& inputs, Captures& captures) {
  session::Session& s = session(L);
  auto trace = std::make_shared<session::Trace>(s.rank());
  std::vector<session::ScriptValue> leaves, symbols, captured;
  for (const session::ScriptValue& v : inputs)
    symbols.push_back(
        PERI_TRY(trace->input(v.type(), v.tensor().view, v.tensor().storage->allocator(), v.made)));
  for (const session::ScriptValue& v : captures.inputs(L))
    captured.push_back(
        trace->captured_input(v.type(), v.tensor().view, v.tensor().storage->allocator(), v.made));
  captures.put(L, std::move(captured));
  Outcome outcome = PERI_TRY([&] {
    const session::Session::Tracing tracing(s, trace);
    return run_traced(L, compiled, arguments, captures, std::move(symbols), leaves);
  }());
  Traced traced;
  traced.graph = PERI_TRY(trace->finish(leaves));
  captures.number_inputs(trace->captured_inputs());
  traced.constants = trace->constants();
  traced.written = trace->written();
  traced.returned = trace->returned();
  traced.tables = paths_of(arguments, {&outcome.results}, outcome.changed);
  traced.repeats_tables =
      repeats_tables(outcome.results) ||
      std::ranges::any_of(outcome.changed, [](const ChangedField& f) { return repeats_tables(f.value); });
  traced.results = std::move(outcome.results);
  traced.assigned = std::move(outcome.assigned);
  traced.changed = std::move(outcome.changed);
  return traced;
}

// Inside another compiled function: its operations join that function's.
Result<int> inline_call(lua_State* L, const LuaCompiled& compiled) {
  const session::Session::Nested nested(session(L));
  PERI_TRY(check_depth(L, nested));
  std::vector<session::ScriptValue> leaves;
  PERI_TRY(take_arguments(L, leaves));  // which may not be taken
  lua_rawgeti(L, LUA_REGISTRYINDEX, compiled.function);
  lua_replace(L, 1);
  if (lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0) != 0) return std::unexpected(take_error(L));
  MetTables tables;
  PERI_TRY(take_values(L, 0, leaves, tables));
  return lua_gettop(L);
}

// --- which compilation ---

// The usual case, without taking anything apart: the arguments are like those of one of the last calls.
// nullptr if not.
Specialisation* find_recent(lua_State* L, LuaCompiled& compiled,
                            std::vector<const kernels::Tensor*>& tensors) {
  constexpr size_t kTried = 4;
  const std::vector<Specialisation*>& recent = compiled.specialisations.recent();
  for (size_t i = 0; i < std::min(recent.size(), kTried); ++i)
    if (recent[i]->signature.matches(L, 2, tensors) && recent[i]->captures.match(L, tensors))
      return compiled.specialisations.call(i);
  return nullptr;
}

// Once, when the third call in a row has to be compiled because of one captured variable.
void warn_of_changes(lua_State* L, LuaCompiled& compiled, const Captured& changed) {
  constexpr int kPatience = 3;
  if (std::exchange(compiled.changing, changed.place) != changed.place) compiled.changes_in_a_row = 0;
  if (++compiled.changes_in_a_row < kPatience || std::exchange(compiled.warned, true)) return;
  fmt::print(stderr,
             "{}: note: the function at {} is compiled at every call, because the captured variable '{}' "
             "changes\n   hint: pass it as a tensor, or capture a tensor that is changed in place\n",
             origin(L).to_string(), compiled.name, changed.name);
}

// Traces and compiles. If that has been done for this signature before, what the function captures has
// changed.
Result<Specialisation*> specialise(lua_State* L, LuaCompiled& compiled, Signature signature,
                                   const std::vector<session::ScriptValue>& leaves) {
  Specialisations& known = compiled.specialisations;
  std::string reason;
  const auto before = std::ranges::find(known.recent(), signature, &Specialisation::signature);
  const Captured* changed = before == known.recent().end() ? nullptr : (*before)->captures.first_change(L);
  if (changed) {
    reason = fmt::format(" (the captured variable '{}' has changed)", changed->name);
    warn_of_changes(L, compiled, *changed);
  }
  for (const auto& other : known.all()) other->captures.find_replaced(L, compiled.replaced);
  Captures captures = PERI_TRY(Captures::take(L, compiled.function, compiled.replaced));
  const session::Agreement agreement{compiled.agreement, reason, captures.describe(L),
                                     known.to_drop(signature)};
  Traced traced = PERI_TRY(trace(L, compiled, signature.arguments(), leaves, captures));
  session::AgreedPlan plan = PERI_TRY(
      agree_on_plan(session(L), std::move(traced.graph), compiled.policy, agreement, compiled.check));
  known.drop(plan.dropped);
  session::CompiledProgram program = PERI_TRY(prepare(session(L), std::move(plan), traced.constants));
  return known.add({std::move(signature), std::move(captures), std::move(traced), std::move(program)});
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
  const std::vector<Specialisation*>& recent = compiled.specialisations.recent();
  for (size_t i = 0; i < recent.size(); ++i) {
    take_leaves();
    if (recent[i]->signature != signature || !recent[i]->captures.match(L, tensors)) continue;
    Specialisation* entry = compiled.specialisations.call(i);
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

// Pushes the results, and sets the captured variables and the fields of arguments that the function sets.
int give_results(lua_State* L, const Specialisation& entry, std::vector<session::ScriptValue>& leaves) {
  const Traced& traced = entry.traced;
  TableIndex tables;
  if (!traced.tables.empty()) {
    push_tables(L, 2, traced.tables);
    tables.arguments = lua_gettop(L);
  }
  if (traced.repeats_tables) {
    lua_newtable(L);
    tables.made = lua_gettop(L);
  }
  for (const auto& [key, item] : traced.results.items) unflatten(L, item, leaves, tables);
  for (const Assigned& a : traced.assigned) {
    unflatten(L, a.value, leaves, tables);
    entry.captures.assign(L, a.captured);
  }
  for (const ChangedField& field : traced.changed) set_field(L, field, leaves, tables);
  return static_cast<int>(traced.results.items.size());
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
  const Specialisations::Calling calling(compiled->specialisations);
  std::vector<const kernels::Tensor*> tensors = std::move(compiled->tensors);
  std::vector<session::ScriptValue> leaves;
  Specialisation* entry = compiled->check ? nullptr : find_recent(L, *compiled, tensors);
  if (entry && !entry->program.executable->has_free_outputs()) {
    const bool collected =
        collector(L).collect_for(L, [&] { return entry->program.executable->make_room_for_outputs(); });
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

}  // namespace peri::lua::compiled
