/* Rules of membership that can be switched off, one at a time, to see that a test notices:
 * mutants.txt lists them, mutate.py makes them. The product has none; a program that is built with
 * the real files has only "none" (no_mutants.c). */
#ifndef TROUPE_SIM_MEMBERSHIP_MUTANTS_H
#define TROUPE_SIM_MEMBERSHIP_MUTANTS_H

struct swim_mutant_name {
    const char *name, *what;
};

extern int swim_mutant;                              /* which one lives; 0 = none */
extern const struct swim_mutant_name swim_mutants[]; /* the first is "none" */
extern const int swim_mutants_n;

#endif
