// One rank's state while a script runs: the backend, the trace in progress if there is one, and how an
// operation is carried out: appended to the trace, or computed at once.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bindings/session/random_seeds.hpp"
#include "bindings/session/trace.hpp"
#include "bindings/session/value.hpp"
#include "cudagraph/shared_memory.hpp"
#include "kernels/backend.hpp"

namespace peri::session {

// How the planner's passes are observed, and which are left out: set from the command line (--print-after,
// --print-changed, --skip), read by every compile.
struct CompileOptions {
  std::vector<std::string> print_after;
  bool print_changed = false;
  std::vector<std::string> skip;
};

class Session {
 public:
  explicit Session(std::unique_ptr<kernels::Backend> backend, CompileOptions compile_options = {})
      : backend_(std::move(backend)),
        shared_memory_(*backend_),
        compile_options_(std::move(compile_options)),
        random_seeds_(0, backend_->job().rank) {}

  kernels::Backend& backend() { return *backend_; }
  // Of all compiled functions.
  cudagraph::SharedMemory& shared_memory() { return shared_memory_; }
  int rank() const { return backend_->job().rank; }
  int world_size() const { return backend_->job().world_size; }
  Group world() const { return world_group(world_size()); }

  // Any op of the table, composite ones included. Errors carry `origin` and each operand's type and origin.
  // The first result, or all of them.
  Result<ScriptValue> apply(Op op, const std::vector<Argument>& operands, Attributes attributes,
                            const Origin& origin);
  Result<std::vector<ScriptValue>> apply_results(Op op, const std::vector<Argument>& operands,
                                                 Attributes attributes, const Origin& origin);
  // Writes `value` into `target`'s memory, now or, while tracing, when the traced function is called. Errors:
  // other types; a target that repeats elements.
  Status assign(const ScriptValue& target, const ScriptValue& value, const Origin& origin);
  Result<kernels::Tensor> empty(const TensorType& type);
  Result<kernels::Tensor> empty_symmetric(const TensorType& type, const Group& group);

  // A contiguous tensor's bytes in memory the CPU reads: itself, or a copy.
  Result<kernels::Tensor> readable(const kernels::Tensor& t);

  // At most one trace at a time: compiled functions called while tracing are inlined.
  std::shared_ptr<Trace> trace() const { return trace_; }
  // Operations are traced as long as this lives. Its end ends the trace whatever happens: errors of Lua's own
  // unwind past their callers.
  class Tracing {
   public:
    Tracing(Session& session, std::shared_ptr<Trace> trace) : session_(session) {
      session_.trace_ = std::move(trace);
    }
    ~Tracing() { session_.trace_ = nullptr; }
    Tracing(const Tracing&) = delete;

   private:
    Session& session_;
  };

  // A compiled function in progress, as long as this lives; how many are inside one another.
  class Nested {
   public:
    explicit Nested(Session& session) : session_(session) { ++session_.depth_; }
    ~Nested() { --session_.depth_; }
    Nested(const Nested&) = delete;
    int depth() const { return session_.depth_; }

   private:
    Session& session_;
  };

  const CompileOptions& compile_options() const { return compile_options_; }
  // Of this rank; a script that sets no seed gets the same numbers each time that it runs.
  RandomSeeds& random_seeds() { return random_seeds_; }
  // From 1: how many programs have been compiled, this one included.
  int64_t count_program() { return ++programs_; }

 private:
  Result<std::vector<ScriptValue>> apply_eagerly(Op op, const std::vector<Argument>& operands,
                                                 const Attributes& attributes, const Origin& origin);
  Result<std::vector<kernels::Tensor>> launch(Op op, const std::vector<kernels::Tensor>& operands,
                                              const Attributes& attributes, const ResultTypes& types);
  Result<kernels::Tensor> compute(Op op, const std::vector<kernels::Tensor>& operands,
                                  const Attributes& attributes, const TensorType& type, const Origin& origin);
  Result<kernels::Tensor> pointwise(Op op, const std::vector<Argument>& operands, const TensorType& type);
  Result<kernels::Tensor> collective(Op op, const kernels::Tensor& operand, const Attributes& attributes,
                                     const TensorType& type, const Origin& origin);
  Result<kernels::Tensor> staged(const kernels::Tensor& operand, const Group& group);

  std::unique_ptr<kernels::Backend> backend_;
  cudagraph::SharedMemory shared_memory_;
  CompileOptions compile_options_;
  RandomSeeds random_seeds_;
  int64_t programs_ = 0;
  std::shared_ptr<Trace> trace_;
  int depth_ = 0;
  // Symmetric scratch for operands that are not, per group.
  std::map<Group, std::shared_ptr<kernels::Storage>> staging_;
};

}  // namespace peri::session
