# Run by CTest with -D build, source, work, generator, compiler and version.
cmake_minimum_required(VERSION 3.25)

# Runs a command, shows what it said where it failed, and leaves its standard output in `output`.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE said ERROR_VARIABLE complained)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "'${ARGN}' ended with ${code}:\n${said}\n${complained}")
  endif()
  set(output "${said}" PARENT_SCOPE)
endfunction()

function(require_line text line)
  if(NOT text MATCHES "(^|\n)${line}(\n|$)")
    message(FATAL_ERROR "expected the line '${line}' in:\n${text}")
  endif()
endfunction()

set(golden "$ENV{SPATIALMAMBA_GOLDEN}")
if(golden STREQUAL "")
  set(golden "${source}/tests/golden")
endif()
set(weights "${golden}/classification/nano/nano_weights.safetensors")

# Installed in one place and used in another: nothing may depend on where it was first.
file(REMOVE_RECURSE "${work}")
run("${CMAKE_COMMAND}" --install "${build}" --prefix "${work}/first")
file(RENAME "${work}/first" "${work}/prefix")

run("${CMAKE_COMMAND}" -S "${source}/examples/consumer" -B "${work}/consumer" -G "${generator}"
    -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH=${work}/prefix)
file(STRINGS "${work}/consumer/CMakeCache.txt" found REGEX "^SpatialMamba_DIR")
if(NOT found MATCHES "=${work}/prefix/")
  message(FATAL_ERROR "the consumer found another package: ${found}")
endif()
run("${CMAKE_COMMAND}" --build "${work}/consumer")
file(GLOB pictures "${golden}/classification/data/images/*.jpg" "${golden}/classification/data/images/*.png")
list(GET pictures 0 picture)
run("${work}/consumer/consumer" "${weights}" "${picture}")
set(consumer_said "${output}")

# The installed program answers the same.
run("${work}/prefix/bin/spatialmamba" info "${weights}" --json)
string(JSON classes GET "${output}" num_classes)
require_line("${consumer_said}" "version ${version}")
require_line("${consumer_said}" "model custom, ${classes} classes")
run("${work}/prefix/bin/spatialmamba" predict "${picture}" --weights "${weights}" --json)
string(JSON best GET "${output}" images 0 predictions 0 class)
string(JSON name GET "${output}" images 0 predictions 0 name)
require_line("${consumer_said}" "${best} [0-9.e-]+ ${name}")

# The library for other languages shows its C functions and nothing else.
file(GLOB c_library "${work}/prefix/lib*/libspatialmamba_c.so" "${work}/prefix/lib/*/libspatialmamba_c.so")
if(NOT c_library)
  message(FATAL_ERROR "libspatialmamba_c.so was not installed")
endif()
list(GET c_library 0 c_library)
find_program(NM nm REQUIRED)
run("${NM}" -D --defined-only "${c_library}")
string(REGEX MATCHALL "[^\n]+" symbols "${output}")
foreach(symbol IN LISTS symbols)
  if(NOT symbol MATCHES " [TA] (spatialmamba_|SPATIALMAMBA)")
    message(FATAL_ERROR "libspatialmamba_c.so shows '${symbol}'")
  endif()
endforeach()
