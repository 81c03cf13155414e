"""Names of the families that reasoning-gym (Apache-2.0, the extra `tasks`) gives: `rg_<set>`, for `data=rg_<set>`.

Of its 106 sets those whose own answer its own scorer calls right, and that draw the same in every process
(docs/datasets.md). The others are refused by name.
"""

from __future__ import annotations

OFFERED = """
    ab acre advanced_geometry aiw arc_1d arc_agi base_conversion basic_arithmetic bf binary_alternation binary_matrix
    bitwise_arithmetic caesar_cipher calendar_arithmetic chain_sum circuit_logic codeio coin_flip color_cube_rotation
    complex_arithmetic count_bits count_primes countdown course_schedule cryptarithm decimal_arithmetic
    decimal_chain_sum dice emoji_mystery family_relationships figlet_font fraction_simplification futoshiki
    game_of_life game_of_life_halting gcd group_anagrams gsm_symbolic intermediate_integration jugs
    kakurasu knight_swap knights_knaves largest_island lcm leg_counting letter_counting letter_jumble list_functions
    mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid n_queens needle_haystack number_filtering
    number_format number_sequence number_sorting palindrome_generation palindrome_partitioning path_star
    polynomial_equations pool_matrix power_function prime_factorization products puzzle24
    quantum_lock rearc rectangle_count rotate_matrix rotten_oranges self_reference sentence_reordering
    shortest_path simple_equations simple_geometry simple_integration sokoban spell_backward spiral_matrix
    string_insertion string_manipulation string_splitting string_synthesis sudoku survo syllogism time_intervals
    tower_of_hanoi tsumego word_sequence_reversal word_sorting zebra_puzzles
""".split()  # fmt: skip

BY_HASH = "draws by the order of Python's sets, which differs from process to process: no run could be repeated"
NO_ANSWER = "has no answer of its own: its scorer gives None, the answer that its entries carry, 0"
REFUSED = {
    "boxnet": NO_ANSWER,
    "composite": "is a mixture of other sets, to be configured: name one of them",
    "graph_color": NO_ANSWER,
    "isomorphic_strings": BY_HASH,
    "polynomial_multiplication": BY_HASH,
    "propositional_logic": NO_ANSWER,
    "ransom_note": BY_HASH,
    "rubiks_cube": NO_ANSWER,
    "rush_hour": NO_ANSWER,
    "word_ladder": BY_HASH,
}
# Four sets in short prompts and with worked answers, for the shipped policy; and all of them in one family.
SMALL = ("chain_sum", "products", "gcd", "base_conversion")


def families(module: str) -> dict[str, str]:
    """Family -> import path. The module gives a family for each attribute of its name."""
    names = [*(f"rg_{name}" for name in OFFERED), *(f"rg_small_{name}" for name in SMALL), "rg_small"]
    return {name: f"{module}:{name}" for name in names}


def gone() -> dict[tuple[str, str], str]:
    """(kind, name) of the sets that are not offered -> why."""
    return {("family", f"rg_{name}"): f"is refused: this set of reasoning-gym {why}" for name, why in REFUSED.items()}
