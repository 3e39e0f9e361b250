# What `cmake --install` puts where: the public headers, one static library of the torch-free modules with its
# CMake package (find_package(SpatialMamba), target SpatialMamba::spatialmamba), and the program.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

configure_file("${PROJECT_SOURCE_DIR}/cmake/version.h.in"
               "${PROJECT_BINARY_DIR}/include/spatialmamba/version.h" @ONLY)

set(core_modules base archive kernels model weights engine image detection metrics classifier detector capi)
set(core_objects "")
foreach(module IN LISTS core_modules)
  if(TARGET spatialmamba_${module})
    list(APPEND core_objects $<TARGET_OBJECTS:spatialmamba_${module}>)
  endif()
endforeach()
# The program has the plain name among the targets; the library has it everywhere else.
add_library(spatialmamba_library STATIC ${core_objects})
set_target_properties(spatialmamba_library PROPERTIES
  OUTPUT_NAME spatialmamba EXPORT_NAME spatialmamba LINKER_LANGUAGE CXX)
add_library(SpatialMamba::spatialmamba ALIAS spatialmamba_library)
target_compile_features(spatialmamba_library INTERFACE cxx_std_20)
target_include_directories(spatialmamba_library INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(spatialmamba_library PRIVATE
  fmt::fmt Threads::Threads ZLIB::ZLIB JPEG::JPEG PNG::PNG PkgConfig::HWY)
if(SPATIALMAMBA_SANITIZE)
  target_link_options(spatialmamba_library INTERFACE -fsanitize=${SPATIALMAMBA_SANITIZE})
endif()

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/SpatialMamba")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/SpatialMambaConfig.cmake.in" "${PROJECT_BINARY_DIR}/SpatialMambaConfig.cmake"
  INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/SpatialMambaConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/SpatialMambaConfig.cmake" "${PROJECT_BINARY_DIR}/SpatialMambaConfigVersion.cmake"
  DESTINATION "${package_folder}")
install(TARGETS spatialmamba_library EXPORT SpatialMambaTargets)

# The C interface for other languages, all in one: libspatialmamba_c.so shows the functions of c_api.h alone.
add_library(spatialmamba_c SHARED ${core_objects})
set_target_properties(spatialmamba_c PROPERTIES LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/c_api.map")
target_link_options(spatialmamba_c PRIVATE "-Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/c_api.map")
target_link_libraries(spatialmamba_c PRIVATE
  fmt::fmt Threads::Threads ZLIB::ZLIB JPEG::JPEG PNG::PNG PkgConfig::HWY spatialmamba_options)
install(TARGETS spatialmamba_c)
install(EXPORT SpatialMambaTargets NAMESPACE SpatialMamba:: DESTINATION "${package_folder}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/spatialmamba" "${PROJECT_BINARY_DIR}/include/spatialmamba"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")

if(TARGET spatialmamba)
  # LibTorch stays where it is: the installed program finds it there.
  set_target_properties(spatialmamba PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS spatialmamba)
endif()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
