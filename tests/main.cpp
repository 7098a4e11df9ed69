// The entry point of test executables, and of benchmarks of kernels; separate so that Catch2's implementation
// is compiled once.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <cstdlib>

int main(int count, char** arguments) {
  unsetenv("PERI_MULTICAST");  // stays off in tests, whoever runs them
  return Catch::Session().run(count, arguments);
}
