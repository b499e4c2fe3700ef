# Cuts a shadow-paging trace down to what concerns roots; README.md beside this file says how it is
# used. Lines are printed whole and as they stand, or not at all.

/^#/ { print; next }

# What KVM did with roots.
/ (new_pgd|set_cr3|mmu_load|sync_roots|free_roots|invlpg): / { print; next }

# The shadow pages that are roots: this guest has five levels.
/: kvm_mmu_(get_page|prepare_zap_page): / && / l5 / { print; next }

# Exits because of CR3, each with the entry that ends it.
/: kvm_exit: / { cr3 = /reason write_cr3/; if (cr3) print; next }
/: kvm_entry: / { if (cr3) print; cr3 = 0 }
