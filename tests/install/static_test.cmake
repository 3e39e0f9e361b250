# Run by CTest with -D program.
cmake_minimum_required(VERSION 3.25)

find_program(READELF readelf REQUIRED)
execute_process(COMMAND "${READELF}" -d "${program}" OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "NEEDED[^\n]*" needed "${dynamic}")
foreach(library IN LISTS needed)
  if(NOT library MATCHES "\\[(libc|libm|ld-linux[^.]*|libfmt|libspdlog|libhwy)\\.so")
    message(FATAL_ERROR "the program asks for more than it should: ${library}")
  endif()
endforeach()
execute_process(COMMAND "${program}" info --variant tiny --json OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
