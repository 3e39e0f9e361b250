# One folder of src/ is one module: a static library `spatialmamba_<name>` whose sources see each other by
# folder ("weights/safetensors.h"). DEPENDS states which layers below it may be used, EXTERNAL the foreign
# libraries; PCH makes it reuse LibTorch's precompiled header.
function(spatialmamba_module name)
  cmake_parse_arguments(ARG "PCH" "" "SOURCES;DEPENDS;EXTERNAL" ${ARGN})
  set(target spatialmamba_${name})
  add_library(${target} STATIC ${ARG_SOURCES})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  list(TRANSFORM ARG_DEPENDS PREPEND spatialmamba_)
  target_link_libraries(${target} PUBLIC ${ARG_DEPENDS} ${ARG_EXTERNAL} PRIVATE spatialmamba_options)
  if(ARG_PCH)
    target_precompile_headers(${target} REUSE_FROM spatialmamba_torch)
  endif()
endfunction()

# One suite is one executable and one CTest entry. Without LABELS the suite carries none.
function(spatialmamba_test name)
  cmake_parse_arguments(ARG "PCH" "" "SOURCES;DEPENDS;EXTERNAL;LABELS" ${ARGN})
  set(target test_${name})
  add_executable(${target} ${ARG_SOURCES})
  target_compile_options(${target} PRIVATE -fPIC)  # not -fPIE: as the precompiled header of LibTorch
  list(TRANSFORM ARG_DEPENDS PREPEND spatialmamba_)
  target_link_libraries(${target} PRIVATE
    ${ARG_DEPENDS} spatialmamba_test_support ${ARG_EXTERNAL} spatialmamba_options GTest::gmock GTest::gtest)
  if(ARG_PCH)
    target_precompile_headers(${target} REUSE_FROM spatialmamba_torch)
  endif()
  add_test(NAME ${name} COMMAND ${target})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 600)
endfunction()
