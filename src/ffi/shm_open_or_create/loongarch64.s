    .pushsection .text.ipc_shm_open_or_create, "ax", @progbits
    .globl ipc_shm_open_or_create
    .type ipc_shm_open_or_create, @function
    .p2align 2
ipc_shm_open_or_create:
    .cfi_startproc
    .cfi_personality 0x1b, {personality}
    addi.d $sp, $sp, -96
    .cfi_def_cfa_offset 96
    st.d $ra, $sp, 88
    .cfi_offset 1, -8
    st.d $a0, $sp, 0
    st.d $a1, $sp, 8
    st.d $a2, $sp, 16
    st.d $a3, $sp, 24
    st.d $a4, $sp, 32
    st.d $a5, $sp, 40
    st.d $a6, $sp, 48
    move $a0, $sp
    bl {begin}
    beqz $a0, 2f
    ld.d $a0, $sp, 56
    ld.d $a1, $sp, 8
    ld.d $a2, $sp, 24
    ld.d $t0, $sp, 16
    jirl $ra, $t0, 0
    st.w $a0, $sp, 72
    move $a0, $sp
    bl {finish}
2:
    ld.w $a0, $sp, 76
    ld.d $ra, $sp, 88
    .cfi_restore 1
    addi.d $sp, $sp, 96
    .cfi_def_cfa_offset 0
    jr $ra
    .cfi_endproc
    .size ipc_shm_open_or_create, . - ipc_shm_open_or_create
    .popsection
