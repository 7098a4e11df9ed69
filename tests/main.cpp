// The entry point of every test executable; separate so that Catch2's implementation is compiled once.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
