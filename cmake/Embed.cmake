# Bytes of files as arrays of a C++ source: for small data that the program must have wherever it runs.
# Defines `std::span<const std::span<const unsigned char>> NAME()` in namespace spatialmamba::NAMESPACE, in the
# order of FILES, and puts the source's path into OUT.
function(spatialmamba_embed)
  cmake_parse_arguments(ARG "" "NAME;NAMESPACE;OUT" "FILES" ${ARGN})
  set(arrays "")
  set(spans "")
  set(index 0)
  foreach(file IN LISTS ARG_FILES)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    file(READ "${file}" bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
    string(APPEND arrays "constexpr unsigned char kFile${index}[] = {${bytes}};\n")
    string(APPEND spans "kFile${index}, ")
    math(EXPR index "${index} + 1")
  endforeach()
  set(source "${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}.cc")
  file(CONFIGURE OUTPUT "${source}" CONTENT "#include <span>

namespace spatialmamba::${ARG_NAMESPACE} {
namespace {
${arrays}
constexpr std::span<const unsigned char> kFiles[] = {${spans}};
}  // namespace

std::span<const std::span<const unsigned char>> ${ARG_NAME}();
std::span<const std::span<const unsigned char>> ${ARG_NAME}() { return kFiles; }

}  // namespace spatialmamba::${ARG_NAMESPACE}
" @ONLY)
  set(${ARG_OUT} "${source}" PARENT_SCOPE)
endfunction()
