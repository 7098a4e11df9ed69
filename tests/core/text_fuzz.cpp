// Any bytes: `parse` refuses them or makes a graph that prints and reads back; the passes of core survive
// that graph.
#include "core/graph/graph.hpp"

using namespace peri;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Result<Graph> graph = parse({reinterpret_cast<const char*>(data), size});
  if (!graph) return 0;
  Result<Graph> again = parse(print(*graph));
  PERI_CHECK(again && *again == *graph, "the text form does not read back");
  if (verify(*graph)) {
    PERI_CHECK(verify(eliminate_dead_code(*graph)), "dead-code elimination broke the graph");
    print_dot(*graph);
  }
  return 0;
}
