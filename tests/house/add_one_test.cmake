# "Adding one is one file and one word" (a role: two files and one word): the lists of algorithms, corrections, rules
# and roles, read by the project's own functions in a tree of empty files. Run as cmake -P add_one_test.cmake; nothing
# is compiled.
#
# With -D CALL=... the script is that one configure: it makes the call and prints what would be compiled.

cmake_minimum_required(VERSION 3.25)
get_filename_component(root ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)

if(CALL)
  set(PROJECT_SOURCE_DIR ${TREE})
  function(millrace_add_module)
    message("${ARGN}")
    file(READ table.cpp table)
    message("${table}")
  endfunction()
  include(${root}/tools/cmake/tables.cmake)
  cmake_language(EVAL CODE "${CALL}")
  return()
endif()

# tree(file ...): a new tree of these files; docs/algorithms.md has a line for `mine`.
function(tree)
  file(REMOVE_RECURSE ${tree})
  file(WRITE ${tree}/docs/algorithms.md "# Algorithms\n\n| algorithm | source |\n|---|---|\n| `mine` | me |\n")
  foreach(file IN LISTS ARGN)
    file(WRITE ${tree}/${file} "")
  endforeach()
endfunction()

# configure(<call> ACCEPTED|REFUSED <text> ...): the call ends so and says each text.
function(configure call outcome)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -D TREE=${tree} -D CALL=${call} -P ${CMAKE_SCRIPT_MODE_FILE}
    WORKING_DIRECTORY ${tree} RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(status EQUAL 0)
    set(ended ACCEPTED)
  else()
    set(ended REFUSED)
  endif()
  string(REGEX REPLACE "[ \n]+" " " said "${said}") # CMake wraps what it says
  foreach(text IN LISTS ARGN)
    string(FIND "${said}" "${text}" at)
    if(at EQUAL -1 OR NOT ended STREQUAL outcome)
      message(SEND_ERROR "${call}: want ${outcome} and \"${text}\", got ${ended} and:\n${said}")
    endif()
  endforeach()
endfunction()

string(RANDOM LENGTH 8 name)
set(tree ${CMAKE_CURRENT_BINARY_DIR}/add_one_${name})

# One file, its test, its line and one word make a row.
tree(algorithms/mine.cpp tests/algorithms/mine_test.cpp)
configure("millrace_add_algorithms(ALGORITHMS mine)" ACCEPTED
  "/algorithms/mine.cpp" "tests/algorithms/mine_test.cpp" "extern const algorithm mine" "rows[] = { &mine, }")
tree(algorithms/corrections/mine.cpp tests/algorithms/corrections/mine_test.cpp)
configure("millrace_add_algorithms(CORRECTIONS mine)" ACCEPTED
  "/algorithms/corrections/mine.cpp" "tests/algorithms/corrections/mine_test.cpp" "correction_rows[] = { &mine, }")
tree(runtime/rules/mine.cpp tests/runtime/rules/mine_test.cpp)
configure("millrace_add_rules(mine)" ACCEPTED
  "/runtime/rules/mine.cpp" "tests/runtime/rules/mine_test.cpp" "extern const rule_type mine" "rows[] = { &mine, }")


# A role's word stands in a C++ list.
function(role_tree)
  tree(${ARGN})
  file(WRITE ${tree}/docs/pipelines.md "| kind | reads |\n|---|---|\n| `source` | a file |\n| `mine` | `text` |\n")
  file(WRITE ${tree}/runtime/pipeline/role_options.hpp
    "using role_options = std::variant<source_table,\n  mine_table>;\n")
endfunction()
set(source runtime/roles/source_role.cpp tests/runtime/roles/source_role_test.cpp)
role_tree(${source} runtime/roles/mine_role.cpp tests/runtime/roles/mine_role_test.cpp)
configure("millrace_add_roles()" ACCEPTED "/runtime/roles/mine_role.cpp" "tests/runtime/roles/mine_role_test.cpp"
  "role_abilities made(const role_setup&, const pipeline::mine_table&)" "made(setup, table)")

# A word without its test is refused.
role_tree(${source} runtime/roles/mine_role.cpp)
configure("millrace_add_roles()" REFUSED "runtime/roles/mine_role.cpp has no tests/runtime/roles/mine_role_test.cpp")
tree(algorithms/mine.cpp algorithms/corrections/mine.cpp runtime/rules/mine.cpp)
configure("millrace_add_algorithms(ALGORITHMS mine)" REFUSED
  "algorithms/mine.cpp has no tests/algorithms/mine_test.cpp")
configure("millrace_add_algorithms(CORRECTIONS mine)" REFUSED
  "algorithms/corrections/mine.cpp has no tests/algorithms/corrections/mine_test.cpp")
configure("millrace_add_rules(mine)" REFUSED "runtime/rules/mine.cpp has no tests/runtime/rules/mine_test.cpp")

# An algorithm, a correction or a role without its line is refused.
role_tree(${source} runtime/roles/mine_role.cpp tests/runtime/roles/mine_role_test.cpp)
file(WRITE ${tree}/docs/pipelines.md "\n| `source` | a file |\n")
configure("millrace_add_roles()" REFUSED "docs/pipelines.md has no line for `mine`")
tree(algorithms/yours.cpp tests/algorithms/yours_test.cpp
  algorithms/corrections/yours.cpp tests/algorithms/corrections/yours_test.cpp)
configure("millrace_add_algorithms(ALGORITHMS yours)" REFUSED "docs/algorithms.md has no line for `yours`")
configure("millrace_add_algorithms(CORRECTIONS yours)" REFUSED "docs/algorithms.md has no line for `yours`")

file(REMOVE_RECURSE ${tree})
