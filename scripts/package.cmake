# The packages that `cmake --build --preset release --target package` makes in the build folder: a .tar.gz, which is
# the installed folder, and a .deb, which puts that folder at /opt/perilune (so that the libraries in it are seen by no
# other program) and `peri` on everybody's PATH. The libraries are bundled as `cmake --install` does, so the .deb needs
# nothing that a bare Debian 12 lacks.
set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_NAME perilune)
set(CPACK_PACKAGE_VENDOR Perilune)
set(CPACK_PACKAGE_CONTACT "The Perilune authors <perilune@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "compiles tensor programs written in Lua and runs them on every rank of a job")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.36)")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)

# CPack reads the first for each generator, and runs the second when the folder of a package is complete.
file(WRITE ${CMAKE_BINARY_DIR}/package/prefix.cmake [[
if(CPACK_GENERATOR STREQUAL "DEB")
  set(CPACK_PACKAGING_INSTALL_PREFIX /opt/perilune)
endif()
]])
file(WRITE ${CMAKE_BINARY_DIR}/package/link.cmake [[
if(CPACK_GENERATOR STREQUAL "DEB")
  file(MAKE_DIRECTORY ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/bin)
  file(CREATE_LINK ../../opt/perilune/bin/peri ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/bin/peri SYMBOLIC)
endif()
]])
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_BINARY_DIR}/package/prefix.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_BINARY_DIR}/package/link.cmake)
include(CPack)
